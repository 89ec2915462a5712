"""Cases of the primitives and of the operators without gradient."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from onnx import TensorProto, helper
from torch import Tensor

from .operator_cases import Array, Case, case, ints, normal, positive, scalar


def _swish_of_softplus(x: Tensor) -> Tensor:
    return x * torch.tanh(torch.log(1 + torch.exp(x)))


def _gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


X = normal(3, 4)
TWO_BROADCAST = [normal(2, 1, 4), normal(3, 1, seed=1)]  # -> 2 x 3 x 4
SPREAD = np.linspace(-4.1, 4.3, 12).reshape(3, 4)
BITS = np.array([[True, False, True], [False, False, True]])
OTHER_BITS = np.array([True, True, False])
TIED = np.array([[1, 3, 3], [2, 2, 0]], dtype=np.float64)

ELEMENTWISE: list[Case] = [
    case("Abs", [X], lambda x: torch.where(x > 0, x, -x)),
    case("Add", [normal(3, 4), normal(3, 4, seed=1)], lambda x, y: x + y),
    case("Add", TWO_BROADCAST, lambda x, y: x + y),
    case("Ceil", [X], lambda x: 0 * x),
    case("Clip", [SPREAD], lambda x: x),
    case("Clip", [SPREAD, scalar(-1.0)], lambda x, low: torch.where(x < low, low, x)),
    case("Clip", [SPREAD, None, scalar(1.0)], lambda x, _, high: torch.where(x > high, high, x)),
    case("Clip", [SPREAD, scalar(-1.0), scalar(1.0)], lambda x, a, b: torch.where(x < a, a, torch.where(x > b, b, x))),
    case("Clip", [SPREAD, scalar(-1.0), scalar(1.0)], lambda x, *_: x * (x.abs() < 1), fixed=(1, 2)),
    case("Cos", [X], lambda x: (torch.exp(1j * x)).real),
    case("Div", TWO_BROADCAST, lambda x, y: x * y**-1),
    case("Div", [ints(7, -7, 6), ints(2, 2, 3)]),
    case("Elu", [SPREAD], lambda x: torch.where(x > 0, x, torch.exp(x) - 1)),
    case("Elu", [SPREAD], lambda x: torch.where(x > 0, x, 0.25 * (torch.exp(x) - 1)), alpha=0.25),
    case("Erf", [X], lambda x: 1 - torch.special.erfc(x)),
    case("Exp", [X], lambda x: torch.e**x),
    case("Floor", [X], lambda x: 0 * x),
    case("Gelu", [X], lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
    case("Gelu", [X], _gelu_tanh, approximate="tanh"),
    case("HardSigmoid", [SPREAD], lambda x: (0.2 * x + 0.5) * (x.abs() < 2.5)),
    case("HardSigmoid", [SPREAD], lambda x: (0.25 * x + 0.25) * ((x > -1) & (x < 3)), alpha=0.25, beta=0.25),
    case("HardSwish", [SPREAD], lambda x: torch.where(x < -3, 0 * x, torch.where(x > 3, x, x * (x + 3) / 6))),
    case("LeakyRelu", [X], lambda x: torch.where(x > 0, x, 0.01 * x)),
    case("LeakyRelu", [X], lambda x: torch.where(x > 0, x, 0.25 * x), alpha=0.25),
    case("Log", [positive(3, 4)], lambda x: torch.log2(x) / torch.log2(torch.tensor(torch.e, dtype=x.dtype))),
    case("Max", [X], lambda x: x),
    case("Max", TWO_BROADCAST, lambda x, y: torch.where(x > y, x, y)),
    case("Max", [normal(2, 3, seed=s) for s in range(3)], lambda *xs: torch.stack(xs).max(0).values),
    case("Mean", [X], lambda x: x),
    case("Mean", [normal(2, 3), normal(3, seed=1), normal(2, 1, seed=2)], lambda x, y, z: (x + y + z) / 3),
    case("Min", TWO_BROADCAST, lambda x, y: torch.where(x < y, x, y)),
    case("Min", [normal(2, 3, seed=s) for s in range(3)], lambda *xs: torch.stack(xs).min(0).values),
    case("Mish", [X], _swish_of_softplus),
    case("Mod", [X, positive(3, 4)], lambda x, y: x - y * torch.trunc(x / y).detach(), fmod=1),
    case("Mod", [ints(7, -7, 7, -7), ints(3, 3, -3, -3)]),
    case("Mod", [ints(7, -7, 7, -7), ints(3, 3, -3, -3)], fmod=1),
    case("Mul", TWO_BROADCAST, lambda x, y: x * y),
    case("Mul", [X, scalar(2.5)], lambda x, y: x * y),
    case("Neg", [X], lambda x: 0 - x),
    case("PRelu", [X, normal(4, seed=1)], lambda x, slope: torch.where(x > 0, x, slope * x)),
    case("Pow", [positive(3, 4), normal(4, seed=1)], lambda x, y: torch.exp(y * torch.log(x))),
    case("Pow", [X, scalar(2.0)], lambda x, _: x * x, fixed=(1,)),
    case("Pow", [X, ints(3)], lambda x, _: x * x * x),
    case("Reciprocal", [X], lambda x: 1 / x),
    case("Relu", [X], lambda x: x * (x > 0)),
    case("Round", [SPREAD], lambda x: 0 * x),
    case("Round", [np.array([0.5, 1.5, 2.5, -0.5, -1.5])], lambda x: 0 * x),
    case("Selu", [X], lambda x: torch.where(x > 0, 3 * x, 1.5 * (torch.exp(x) - 1)), alpha=0.5, gamma=3.0),
    case("Sigmoid", [X], lambda x: 1 / (1 + torch.exp(-x))),
    case("Sign", [X], lambda x: 0 * x),
    case("Sin", [X], lambda x: (torch.exp(1j * x)).imag),
    case("Softplus", [X], lambda x: torch.log(1 + torch.exp(x))),
    case("Softsign", [X], lambda x: x / (1 + x.abs())),
    case("Sqrt", [positive(3, 4)], lambda x: x**0.5),
    case("Sub", TWO_BROADCAST, lambda x, y: x - y),
    case("Sum", [X], lambda x: x),
    case("Sum", [normal(2, 3), normal(3, seed=1), normal(2, 1, seed=2)], lambda x, y, z: x + y + z),
    case("Tan", [X], lambda x: torch.sin(x) / torch.cos(x)),
    case("Tanh", [X], lambda x: (torch.exp(2 * x) - 1) / (torch.exp(2 * x) + 1)),
]

CUBE = normal(2, 3, 4)


def _i32(array: Array) -> Array:
    return array.astype(np.int32)


COPIES: list[Case] = [
    case("Cast", [X], to=TensorProto.DOUBLE),
    case("Cast", [np.array([-1.7, 0.0, 2.9])], to=TensorProto.INT64),
    case("Cast", [ints(-1, 0, 2)], to=TensorProto.DOUBLE),
    case("Cast", [np.array([-1.7, 0.0, 2.9])], to=TensorProto.BOOL),
    case("CastLike", [X, scalar(1.0)], fixed=(1,)),
    case("CastLike", [np.array([-1.7, 0.0, 2.9]), ints(1)]),
    case("Concat", [normal(2, 3), normal(1, 3, seed=1)], axis=0),
    case("Concat", [normal(2, 3), normal(2, 2, seed=1), normal(2, 0)], axis=-1),
    case("Concat", [normal(2, 3), normal(2, 3, seed=1)], axis=1, fixed=(0,)),
    case("Concat", [ints(1, 2), ints(3)], axis=0),
    case("DepthToSpace", [normal(1, 8, 2, 3)], blocksize=2),
    case("DepthToSpace", [normal(1, 8, 2, 3)], blocksize=2, mode="CRD"),
    case("Dropout", [X]),
    case("Dropout", [X, scalar(0.25)], fixed=(1,), seed=3),
    case("Dropout", [X, scalar(0.25), np.array(False)], fixed=(1,)),
    case("Expand", [normal(3, 1), ints(2, 1, 4)]),
    case("Expand", [normal(3, 4), ints(1)]),
    case("Expand", [scalar(1.5), ints(2, 2)]),
    *[case("Flatten", [CUBE], axis=axis) for axis in (0, 2, 3, -1)],
    case("Flatten", [CUBE]),
    case("Gather", [X, ints(0, 2, 0, -1)]),
    case("Gather", [CUBE, np.array([[0, 3], [-4, 3]])], axis=-1),
    case("Gather", [CUBE, np.array(1)], axis=1),
    case("Gather", [X, _i32(ints(2, -3))], axis=0),
    case("Gather", [X, np.zeros((0, 2), dtype=np.int64)], axis=1),
    case("GatherElements", [X, np.array([[0, -1, 2, 1], [1, 1, 0, 0]])]),
    case("GatherElements", [X, _i32(np.array([[0, -1], [3, 1], [2, 2]]))], axis=1),
    case("GatherND", [CUBE, np.array([[0, 1], [1, -1], [0, 1]])]),
    case("GatherND", [CUBE, np.array([[0, 1, 3], [1, 2, 0]])]),
    case("GatherND", [CUBE, np.array([[2], [0]])], batch_dims=1),
    case("GatherND", [CUBE, np.array([[[2], [0]], [[1], [1]]])], batch_dims=1),
    case("Identity", [X]),
    case("OneHot", [ints(0, 2, -1), np.array(3), np.array([0.5, 2.0])]),
    case("OneHot", [np.array([[0, 1], [4, -9]]), np.array(3), ints(0, 1)], axis=1),
    case("OneHot", [ints(1, 0), np.array(3), np.array([0.5, 2.0])], axis=0, fixed=(2,)),
    case("Pad", [X, ints(1, 0, 2, 1)]),
    case("Pad", [X, ints(1, 0, 2, 1), scalar(7.0)]),
    case("Pad", [X, ints(0, 2, 1, 1), scalar(7.0)], fixed=(2,)),
    case("Pad", [X, ints(1, 2), None, ints(-1)]),
    case("Pad", [X, ints(2, 1, 3, 2), None, ints(1, 0)], mode="edge"),
    case("Pad", [X, ints(2, 3, 1, 2)], mode="reflect"),
    case("Pad", [X, ints(2, 3, 1, 2)], mode="wrap"),
    case("Pad", [ints(1, 2), ints(1, 1)]),
    case("Reshape", [CUBE, ints(4, -1)]),
    case("Reshape", [CUBE, ints(0, 2, -1)]),
    case("Reshape", [normal(2, 0), ints(0, 3)], allowzero=1),
    case("ScatterElements", [X, np.array([[0, -1, 2, 1]]), normal(1, 4, seed=1)]),
    case("ScatterElements", [X, _i32(np.array([[1, 3], [0, -2]])), normal(2, 2, seed=1)], axis=1),
    case("ScatterND", [CUBE, np.array([[1], [-2]]), normal(2, 3, 4, seed=1)]),
    case("ScatterND", [CUBE, np.array([[[1, 2]], [[0, 0]]]), normal(2, 1, 4, seed=1)], fixed=(0,)),
    case("Slice", [X, ints(1), ints(3)]),
    case("Slice", [X, ints(0, -3), ints(9, -1), ints(0, -1)]),
    case("Slice", [X, ints(0, 1), ints(3, 4), ints(0, 1), ints(2, 3)]),
    case("Slice", [X, ints(-1), ints(-(2**63)), ints(1), ints(-1)]),
    case("Slice", [X, ints(3, 2), ints(0, 0), ints(1, 0), ints(-2, -1)]),
    case("Slice", [X, ints(2), ints(1), ints(0)]),
    case("Slice", [X, ints(0), ints(2), ints(1), ints(-1)]),
    case("Slice", [X, _i32(ints(1)), _i32(ints(2**31 - 1)), _i32(ints(1))]),
    case("SpaceToDepth", [normal(1, 2, 4, 6)], blocksize=2),
    case("Squeeze", [normal(1, 3, 1)]),
    case("Squeeze", [normal(1, 3, 1), ints(-1)]),
    case("Squeeze", [normal(1, 3, 1), ints(2, 0)]),
    case("Tile", [X, ints(2, 3)]),
    case("Tile", [X, ints(0, 1)]),
    case("Transpose", [CUBE]),
    case("Transpose", [CUBE], perm=[1, 2, 0]),
    case("Trilu", [X]),
    case("Trilu", [normal(2, 3, 3), np.array(-1)], upper=0),
    case("Trilu", [X, np.array(2)], upper=1),
    case("Trilu", [np.ones((3, 3), dtype=bool), np.array(1)]),
    case("Unsqueeze", [X, ints(0)]),
    case("Unsqueeze", [X, ints(-1, 1)]),
    case("Where", [BITS, normal(2, 3), normal(3, seed=1)]),
    case("Where", [BITS[:, :1], normal(3), normal(2, 1, seed=1)]),
    case("Where", [BITS, normal(2, 3), scalar(-np.inf)], lambda c, x, _: torch.where(c, x, 0.0), fixed=(2,)),
    case("Where", [OTHER_BITS, ints(1, 2, 3), ints(4)]),
]

REDUCES: list[Case] = [
    *[
        each
        for op, over in (
            ("ReduceSum", lambda x, dims, keep: x.sum(dims, keepdim=keep)),
            ("ReduceMean", lambda x, dims, keep: x.mean(dims, keepdim=keep)),
            ("ReduceMax", lambda x, dims, keep: x.amax(dims, keepdim=keep)),
            ("ReduceMin", lambda x, dims, keep: x.amin(dims, keepdim=keep)),
            ("ReduceProd", lambda x, dims, keep: _product(x, dims, keep)),
        )
        for each in (
            case(op, [CUBE], lambda x, over=over: over(x, (0, 1, 2), True)),
            case(op, [CUBE], lambda x, over=over: over(x, (0, 1, 2), False), keepdims=0),
            case(op, [CUBE, ints(1)], lambda x, _, over=over: over(x, (1,), True)),
            case(op, [CUBE, ints(-1, 0)], lambda x, _, over=over: over(x, (0, 2), False), keepdims=0),
            case(op, [CUBE, ints()], lambda x, _: x, noop_with_empty_axes=1),
            case(op, [CUBE], lambda x: x, noop_with_empty_axes=1),
            case(op, [scalar(1.5)], lambda x: x),
        )
    ],
    case("ReduceMean", [CUBE], axes=[0, -1], keepdims=0, opset=13),
    case("ReduceMax", [CUBE], lambda x: x.amax((0, 2)), axes=[0, -1], keepdims=0, opset=13),
    case("ReduceMax", [TIED, ints(1)], lambda x, _: torch.stack([x[0, 1:].mean(), x[1, :2].mean()]).unsqueeze(1)),
    case("ReduceMin", [TIED, ints(0)], lambda x, _: torch.stack([x[0, 0:1], x[1, 1:2], x[1, 2:3]], 1)),
    case("ReduceProd", [TIED, ints(1)], lambda x, _: (x[:, 0] * x[:, 1] * x[:, 2]).unsqueeze(1)),
]


def _product(x: Tensor, dims: tuple[int, ...], keep: bool) -> Tensor:
    for dim in reversed(dims):
        x = torch.stack(x.unbind(dim)).prod(0).unsqueeze(dim) if keep else x.prod(dim)
    return x


CONTRACTS: list[Case] = [
    case("MatMul", [normal(*a), normal(*b, seed=1)], partial(torch.einsum, letters))
    for a, b, letters in (
        ((2, 3), (3, 4), "mk,kn->mn"),
        ((3,), (3, 4), "k,kn->n"),
        ((2, 3), (3,), "mk,k->m"),
        ((3,), (3,), "k,k->"),
        ((5, 2, 3), (5, 3, 4), "bmk,bkn->bmn"),
        ((5, 2, 3), (3, 4), "bmk,kn->bmn"),
        ((2, 3), (5, 3, 4), "mk,bkn->bmn"),
        ((5, 2, 3), (3,), "bmk,k->bm"),
        ((3,), (2, 5, 3, 4), "k,abkn->abn"),
        ((2, 1, 2, 3), (1, 3, 3, 2), "aimk,jbkn->abmn"),
        ((1, 1), (1, 1), "mk,kn->mn"),
    )
]

NANS = np.array([1.0, np.nan, np.inf, -np.inf])
FILL = helper.make_tensor("value", TensorProto.DOUBLE, [1], [2.5])

WITHOUT: list[Case] = [
    case("And", [BITS, OTHER_BITS]),
    case("Or", [BITS, OTHER_BITS]),
    case("Xor", [BITS, OTHER_BITS]),
    case("Not", [BITS]),
    *[
        case(op, [TIED], axis=axis, keepdims=keep, select_last_index=last)
        for op in ("ArgMax", "ArgMin")
        for axis, keep, last in ((0, 1, 0), (1, 1, 0), (-1, 1, 1), (1, 0, 1))
    ],
    case("ArgMax", [TIED]),
    case("ArgMin", [TIED]),
    case("ConstantOfShape", [ints(2, 3)], value=FILL),
    case("ConstantOfShape", [ints()], value=FILL),
    case("ConstantOfShape", [ints(2)]),
    *[case(op, [TIED, ints(3, 2, 2).astype(float)]) for op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")],
    case("Equal", [ints(1, 2, 3), ints(1, 3, 3)]),
    case("EyeLike", [np.ones((3, 4), dtype=np.int64)], k=1),
    case("IsInf", [NANS]),
    case("IsNaN", [NANS]),
    case("NonZero", [TIED]),
    case("Range", [np.array(1), np.array(8), np.array(3)]),
    case("Range", [np.array(5), np.array(-1), np.array(-2)]),
    case("Range", [np.array(5), np.array(2), np.array(1)]),
    case("Range", [scalar(0.5), scalar(2.0), scalar(0.5)], fixed=(0, 1, 2)),
    case("Shape", [CUBE]),
    case("Shape", [CUBE], start=1),
    case("Shape", [CUBE], start=-2, end=-1),
    case("Shape", [CUBE], start=2, end=9),
    case("Size", [CUBE]),
]

CASES = [*ELEMENTWISE, *COPIES, *REDUCES, *CONTRACTS, *WITHOUT]
