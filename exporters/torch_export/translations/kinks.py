"""Functions of torch that have a kink, exported so that gradtrace finds torch's own subgradient there.

ONNX has one operator where torch has several functions, equal in value and different at ties and bounds: ReduceMax is
`amax`, whose gradient is shared among equal elements, and `max(dim)`, whose gradient goes to the first of them. What
torch meant is written on the node as metadata (`gradtrace.subgradient`), which other tools pass over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset20
from torch import Tensor, fx

from ...onnx_graph.reader import SUBGRADIENT_KEY

op: Any = opset20
aten: Any = torch.ops.aten

_MEAN, _SUM = 1, 2  # numbers of torch's reductions of losses
_FAR = 2**63 - 1  # the end of every axis


# Functions that the exporter takes apart, or changes for their types, before it asks for a translation


@torch.library.custom_op("gradtrace::clamp", mutates_args=())
def _kept_clamp(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    return x.clamp(low, high)


@_kept_clamp.register_fake
def _(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    del low, high
    return torch.empty_like(x)


@torch.library.custom_op("gradtrace::multi_margin_loss", mutates_args=())
def _kept_multi_margin_loss(
    x: Tensor, target: Tensor, p: float = 1, margin: float = 1, weight: Tensor | None = None, reduction: int = _MEAN
) -> Tensor:
    found: Tensor = aten.multi_margin_loss.default(x, target, p, margin, weight, reduction)
    return found


@_kept_multi_margin_loss.register_fake
def _(
    x: Tensor, target: Tensor, p: float = 1, margin: float = 1, weight: Tensor | None = None, reduction: int = _MEAN
) -> Tensor:
    del p, margin, weight
    return x.new_empty(target.shape if reduction not in (_MEAN, _SUM) else ())


def keep_kinks(program: torch.export.ExportedProgram) -> None:
    """Put operators of ours for functions that the exporter would take apart into some with other subgradients."""
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, fx.GraphModule) else ():
            value = node.meta.get("val")
            if node.op == "call_function" and isinstance(value, Tensor) and value.is_floating_point():
                _keep(node)


def _keep(node: fx.Node) -> None:
    bounds = _BOUNDS.get(node.target)
    if bounds is not None:
        given = {**dict(zip(bounds, node.args[1:], strict=False)), **node.kwargs}
        low, high = (None if given.get(name) is None else float(given[name]) for name in ("min", "max"))  # type: ignore[arg-type]
        node.target, node.args, node.kwargs = torch.ops.gradtrace.clamp.default, (node.args[0], low, high), {}
    elif node.target is aten.multi_margin_loss.default:
        node.target = torch.ops.gradtrace.multi_margin_loss.default


_BOUNDS = {
    aten.clamp.default: ("min", "max"),
    aten.clamp_.default: ("min", "max"),
    aten.clamp_min.default: ("min",),
    aten.clamp_max.default: ("max",),
    aten.clip.default: ("min", "max"),
}


def _marked(value: Any, subgradient: str) -> Any:
    """`value`, with the subgradient of the operator that computes it written on that."""
    value.producer().metadata_props[SUBGRADIENT_KEY] = subgradient
    return value


def _number(like: Any, number: float) -> Any:
    """A constant in the precision of `like`."""
    return op.Constant(value=ir.tensor(number, dtype=like.dtype))


def _integers(*numbers: int) -> Any:
    return op.Constant(value=ir.tensor(list(numbers), dtype=ir.DataType.INT64))


# The largest and smallest


def _shared(reduction: str) -> Callable[..., Any]:
    def translate(self: Any, dim: Sequence[int] | int = (), keepdim: bool = False) -> Any:
        axes = [dim] if isinstance(dim, int) else list(dim)
        return getattr(op, reduction)(self, _integers(*axes) if axes else None, keepdims=int(keepdim))

    return translate


def _first_along(reduction: str, index: str) -> Callable[..., Any]:
    def translate(self: Any, dim: int, keepdim: bool = False) -> tuple[Any, Any]:
        if len(self.shape) == 0:
            return op.Identity(self), op.Constant(value_int=0)
        found = getattr(op, reduction)(self, _integers(dim), keepdims=int(keepdim))
        return _marked(found, "first"), getattr(op, index)(self, axis=dim, keepdims=int(keepdim))

    return translate


def _cumulative(reduction: str, index: str, fill: float) -> Callable[..., Any]:
    """x1, x2 ... -> the largest up to each; of equal ones the last is meant."""

    def translate(self: Any, dim: int) -> tuple[Any, Any]:
        rank = len(self.shape)
        if rank == 0:
            return op.Identity(self), op.Constant(value_int=0)
        last = [a for a in range(rank) if a != dim % rank] + [dim % rank]
        back = [last.index(a) for a in range(rank)]
        x = op.Transpose(self, perm=last)
        size = op.Shape(x, start=rank - 1)
        place = op.Range(op.Constant(value_int=0), op.Squeeze(size), op.Constant(value_int=1))
        seen = op.LessOrEqual(place, op.Unsqueeze(place, _integers(1)))
        rows = op.Where(seen, op.Unsqueeze(x, _integers(-2)), _number(self, fill))  # ... x n -> ... x n x n
        found = _marked(getattr(op, reduction)(rows, _integers(-1), keepdims=0), "last")
        indices = getattr(op, index)(rows, axis=-1, keepdims=0, select_last_index=1)
        return op.Transpose(found, perm=back), op.Transpose(indices, perm=back)

    return translate


def _first_operand(*operators: str) -> Callable[..., Any]:
    """clamp with tensors as bounds: inside and at them the gradient goes to what is clamped."""

    def translate(self: Any, *bounds: Any, **named: Any) -> Any:
        found = self
        for operator, bound in zip(operators, [*bounds, *named.values()], strict=False):
            if bound is not None:
                found = _marked(getattr(op, operator)(found, op.CastLike(bound, self)), "first")
        return found

    return translate


def _clamp_tensor(self: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002  the names of aten::clamp.Tensor
    if min is None and max is None:
        return op.Identity(self)
    return _first_operand("Max", "Min")(self, min, max)


def _ignoring_nan(operator: str) -> Callable[..., Any]:
    """fmax and fmin: a number rather than NaN; of equal operands the first."""

    def translate(self: Any, other: Any) -> Any:
        found = _marked(getattr(op, operator)(self, other), "first")
        return op.Where(op.IsNaN(other), self, op.Where(op.IsNaN(self), other, found))

    return translate


def _adaptive_max_pool(self: Any, output_size: Sequence[int]) -> tuple[Any, Any]:
    """The first of equal elements; numbers of elements count along the flattened axes that are pooled."""
    n, rank = len(output_size), len(self.shape)
    if all(size == 1 for size in output_size):
        pooled = _marked(op.ReduceMax(self, _integers(*range(rank - n, rank)), keepdims=1), "first")
        flat = op.Reshape(self, _integers(*[0] * (rank - n), -1))
        places = op.ArgMax(flat, axis=rank - n, keepdims=1)
        return pooled, op.Reshape(places, op.Shape(pooled))
    sizes = [size for size in self.shape[rank - n :] if isinstance(size, int)]
    if len(sizes) < n or any(size % wanted for size, wanted in zip(sizes, output_size, strict=True)):
        raise NotImplementedError(
            f"adaptive max pooling of {list(self.shape)[rank - n :]} to {list(output_size)}: windows of one size are "
            "wanted, of a number known at export"
        )
    kernel = [size // wanted for size, wanted in zip(sizes, output_size, strict=True)]
    whole = self if rank == n + 2 else op.Unsqueeze(self, _integers(0))
    values, indices = op.MaxPool(whole, kernel_shape=kernel, strides=kernel)
    return (values, indices) if rank == n + 2 else (op.Squeeze(values, _integers(0)), op.Squeeze(indices, _integers(0)))


# Elements chosen by their order


def _top_k(
    self: Any,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,  # noqa: A002
) -> tuple[Any, Any]:
    if len(self.shape) == 0:
        return op.Identity(self), op.Constant(value_int=0)
    size = op.Reshape(op.Cast(k, to=ir.DataType.INT64), _integers(1)) if isinstance(k, ir.Value) else _integers(k)
    values, indices = op.TopK(self, size, axis=dim, largest=int(largest), sorted=int(sorted))
    return _marked(values, "topk"), indices


def _sort(self: Any, *, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    del stable  # torch's order of equal elements is stable in any case
    if len(self.shape) == 0:
        return op.Identity(self), op.Constant(value_int=0)
    values, indices = op.TopK(self, _size(self, dim % len(self.shape)), axis=dim, largest=int(descending), sorted=1)
    return values, indices


def _size(x: Any, axis: int) -> Any:
    """As a vector of one number. axis: not negative"""
    return op.Shape(x, start=axis, end=axis + 1)


def _kth_smallest(self: Any, k: Any, dim: int, keepdim: bool, chooser: str) -> tuple[Any, Any]:
    values, indices = op.TopK(self, k, axis=dim, largest=0, sorted=1)
    _marked(values, chooser)
    last = [op.Slice(x, _integers(-1), _integers(_FAR), _integers(dim)) for x in (values, indices)]
    value, index = last if keepdim else [op.Squeeze(x, _integers(dim)) for x in last]
    return value, index


def _kthvalue(self: Any, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Any, Any]:
    if len(self.shape) == 0:
        return op.Identity(self), op.Constant(value_int=0)
    return _kth_smallest(self, _integers(k), dim, keepdim, "kthvalue")


def _median(chooser: str) -> Callable[..., Any]:
    def translate(self: Any, dim: int = -1, keepdim: bool = False) -> tuple[Any, Any]:
        if len(self.shape) == 0:
            return op.Identity(self), op.Constant(value_int=0)
        return _kth_smallest(self, _middle(_size(self, dim % len(self.shape))), dim, keepdim, chooser)

    return translate


def _middle(size: Any) -> Any:
    """The number of elements up to the lower median."""
    return op.Div(op.Add(size, _integers(1)), _integers(2))


def _median_of_all(self: Any) -> Any:
    """All elements equal to the median share its gradient."""
    flat = op.Reshape(self, _integers(-1))
    values, _ = op.TopK(flat, _middle(op.Shape(flat)), axis=0, largest=0, sorted=1)
    median = op.Slice(values, _integers(-1), _integers(_FAR), _integers(0))
    return op.ReduceMax(op.Where(op.Equal(flat, median), flat, _number(self, -math.inf)), keepdims=0)


# Bounded functions


def _clamp(x: Any, low: float | None = None, high: float | None = None) -> Any:
    bounds = (None if bound is None else _number(x, bound) for bound in (low, high))
    return op.Clip(x, *bounds)


def _hardtanh(self: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    return _marked(op.Clip(self, _number(self, min_val), _number(self, max_val)), "outside")


def _relu6(self: Any) -> Any:
    return _hardtanh(self, 0.0, 6.0)


def _log_sigmoid(self: Any) -> Any:
    return op.Neg(op.Softplus(op.Neg(self)))


def _xlogy(self: Any, other: Any) -> Any:
    """x log(y), and 0 without gradients at x = 0 where y is not positive."""
    zero = _number(self, 0.0)
    nothing = op.And(op.Equal(self, zero), op.LessOrEqual(other, zero))
    return op.Where(nothing, zero, op.Mul(self, op.Log(op.Where(nothing, _number(self, 1.0), other))))


def _sinc(self: Any) -> Any:
    """sin(pi x) / (pi x), and 1 with a derivative of 0 at 0."""
    zero = op.Equal(self, _number(self, 0.0))
    x = op.Mul(op.Where(zero, _number(self, 1.0), self), _number(self, math.pi))
    return op.Where(zero, _number(self, 1.0), op.Div(op.Sin(x), x))


# Norms


def _vector_norm(
    self: Any, ord: float = 2.0, dim: Any = None, keepdim: bool = False, dtype: int = -1  # noqa: A002
) -> Any:  # fmt: skip
    """The derivative at a vector of zeros is 0."""
    x = self if dtype == -1 else op.Cast(self, to=dtype)
    axes = None if dim is None or dim == [] else _integers(*([dim] if isinstance(dim, int) else dim))
    keep = int(keepdim)
    if math.isinf(ord):
        reduction = op.ReduceMax if ord > 0 else op.ReduceMin
        return reduction(op.Abs(x), axes, keepdims=keep)
    if ord == 0:
        return op.ReduceSum(op.CastLike(op.Cast(x, to=ir.DataType.BOOL), x), axes, keepdims=keep)
    if ord == 1:
        return op.ReduceL1(x, axes, keepdims=keep)
    if ord == 2:
        return op.ReduceL2(x, axes, keepdims=keep)
    powers = _marked(op.Pow(op.Abs(x), _number(x, ord)), "flat")
    return _marked(op.Pow(op.ReduceSum(powers, axes, keepdims=keep), _number(x, 1 / ord)), "flat")


# Margin losses, whose gradient is 0 where the margin is just kept


def _multi_margin_loss(
    self: Any, target: Any, p: float = 1, margin: float = 1, weight: Any = None, reduction: int = _MEAN
) -> Any:
    single = len(self.shape) == 1
    x = op.Unsqueeze(self, _integers(0)) if single else self
    right = op.Reshape(target, _integers(-1, 1))  # N x 1
    z = op.Relu(op.Add(op.Sub(_number(self, margin), op.GatherElements(x, right, axis=1)), x))
    z = op.Mul(z, z) if p == 2 else z
    z = z if weight is None else op.Mul(z, op.Gather(weight, right, axis=0))
    classes = op.Range(op.Constant(value_int=0), op.Squeeze(_size(x, 1)), op.Constant(value_int=1))
    losses = op.ReduceMean(op.Where(op.Equal(classes, right), _number(self, 0.0), z), _integers(1), keepdims=0)
    return _reduced(losses, reduction, single)


def _multilabel_margin_loss(self: Any, target: Any, reduction: int = _MEAN) -> Any:
    """N x C labels of which those before the first -1 count."""
    single = len(self.shape) == 1
    x, labels = ([op.Unsqueeze(y, _integers(0)) for y in (self, target)]) if single else (self, target)
    is_end = op.Cast(op.Less(labels, op.Constant(value_int=0)), to=ir.DataType.INT64)
    before = op.Equal(op.CumSum(is_end, op.Constant(value_int=1)), op.Constant(value_int=0))  # N x C
    classes = op.Range(op.Constant(value_int=0), op.Squeeze(_size(x, 1)), op.Constant(value_int=1))
    meant = op.And(op.Equal(op.Unsqueeze(labels, _integers(-1)), classes), op.Unsqueeze(before, _integers(-1)))
    is_target = op.Cast(
        op.ReduceMax(op.Cast(meant, to=ir.DataType.INT64), _integers(1), keepdims=0), to=ir.DataType.BOOL
    )  # N x C
    right = op.GatherElements(x, op.Where(before, labels, op.Constant(value_int=0)), axis=1)
    z = op.Relu(op.Add(op.Sub(_number(self, 1.0), op.Unsqueeze(right, _integers(-1))), op.Unsqueeze(x, _integers(1))))
    counts = op.And(op.Unsqueeze(before, _integers(-1)), op.Not(op.Unsqueeze(is_target, _integers(1))))
    sums = op.ReduceSum(op.Where(counts, z, _number(self, 0.0)), _integers(1, 2), keepdims=0)
    return _reduced(op.Div(sums, op.CastLike(_size(x, 1), self)), reduction, single)


def _reduced(losses: Any, reduction: int, single: bool) -> Any:
    if reduction == _MEAN:
        return op.ReduceMean(losses, keepdims=0)
    if reduction == _SUM or single:
        return op.ReduceSum(losses, keepdims=0)
    return losses


TRANSLATIONS: dict[Any, Any] = {
    aten.amax.default: _shared("ReduceMax"),
    aten.amin.default: _shared("ReduceMin"),
    aten.max.dim: _first_along("ReduceMax", "ArgMax"),
    aten.min.dim: _first_along("ReduceMin", "ArgMin"),
    aten.cummax.default: _cumulative("ReduceMax", "ArgMax", -math.inf),
    aten.cummin.default: _cumulative("ReduceMin", "ArgMin", math.inf),
    aten.clamp.Tensor: _clamp_tensor,
    aten.clamp_min.Tensor: _first_operand("Max"),
    aten.clamp_max.Tensor: _first_operand("Min"),
    aten.fmax.default: _ignoring_nan("Max"),
    aten.fmin.default: _ignoring_nan("Min"),
    aten.topk.default: _top_k,
    aten.sort.stable: _sort,
    aten.kthvalue.default: _kthvalue,
    aten.median.dim: _median("median"),
    aten.nanmedian.dim: _median("nanmedian"),
    aten.median.default: _median_of_all,
    aten.hardtanh.default: _hardtanh,
    aten.relu6.default: _relu6,
    aten.log_sigmoid.default: _log_sigmoid,
    aten.xlogy.Tensor: _xlogy,
    aten.sinc.default: _sinc,
    aten.special_sinc.default: _sinc,
    aten.adaptive_max_pool2d.default: _adaptive_max_pool,
    aten.adaptive_max_pool3d.default: _adaptive_max_pool,
    aten.linalg_vector_norm.default: _vector_norm,
    torch.ops.gradtrace.clamp.default: _clamp,
    torch.ops.gradtrace.multi_margin_loss.default: _multi_margin_loss,
    aten.multilabel_margin_loss.default: _multilabel_margin_loss,
}

# how torch runs the operators of ours where a captured program is run by itself
EAGER: dict[Any, Callable[..., Any]] = {
    torch.ops.gradtrace.clamp.default: torch.clamp,
    torch.ops.gradtrace.multi_margin_loss.default: aten.multi_margin_loss.default,
}
