"""A case of the operator table: one ONNX operator on given inputs, run by ONNX's own reference and by gradtrace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from gradtrace.exporters.onnx_graph.reader import read_graph
from gradtrace.exporters.onnx_graph.run import run
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.values import Value

from ..taped import leaf

Array = NDArray[Any]
Formula = Callable[..., Any]

OPSET = 20


@dataclass(frozen=True)
class Case:
    """One operator on float64 leaves and constant integers.

    inputs: one per slot, None where an optional one is left out
    formula: the same function in torch, of all inputs; None for a copy or another affine function, whose Jacobian
        follows from the reference's values
    fixed: slots of floating-point inputs that are constants
    nodes: the whole graph as (op_type, inputs, outputs, attributes), where one operator is not enough
    """

    op_type: str
    inputs: tuple[Array | None, ...]
    formula: Formula | None
    attributes: dict[str, Any]
    fixed: tuple[int, ...] = ()
    n_outputs: int = 1
    nodes: tuple[tuple[str, list[str], list[str], dict[str, Any]], ...] = ()
    opset: int = OPSET

    @property
    def leaves(self) -> list[int]:
        """The slots with vertices."""
        floats = [i for i, x in enumerate(self.inputs) if x is not None and x.dtype == np.float64]
        return [i for i in floats if i not in self.fixed]

    @property
    def outputs(self) -> list[str]:
        return [f"y{i}" for i in range(self.n_outputs)]

    def model(self) -> onnx.ModelProto:
        """A model of this operator alone; its inputs are x0, x1 ..., its outputs y0, y1 ..."""
        names = [f"x{i}" if x is not None else "" for i, x in enumerate(self.inputs)]
        nodes = self.nodes or ((self.op_type, names, self.outputs, self.attributes),)
        protos = [helper.make_node(op, ins, outs, **attributes) for op, ins, outs, attributes in nodes]
        inputs = [_typed(name, x) for name, x in zip(names, self.inputs, strict=True) if x is not None]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in self.outputs]
        graph = helper.make_graph(protos, "case", inputs, outputs)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])

    def expected(self, **changed: Array) -> list[Array]:
        """The outputs by ONNX's reference implementation; `changed` replaces inputs (x0=...)."""
        feeds = {f"x{i}": x for i, x in enumerate(self.inputs) if x is not None} | changed
        return [np.asarray(y) for y in ReferenceEvaluator(self.model()).run(self.outputs, feeds)]

    def on_tape(self, output: str = "y0") -> tuple[Tape, Value, list[Value]]:
        """The operator on a fresh tape: the tape, one output and the leaves."""
        model = self.model()
        del model.graph.output[:]  # a model needs a scalar loss; this one stops at the operator
        model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, []))
        tape = Tape(torch.float64)
        leaves = [leaf(tape, f"x{i}", x) for i, x in enumerate(self.inputs) if x is not None and i in self.leaves]
        values = {f"x{i}": value for i, value in zip(self.leaves, leaves, strict=True)}
        for i, x in enumerate(self.inputs):
            if x is not None and i not in self.leaves:
                values[f"x{i}"] = tape.constant(torch.from_numpy(np.asarray(x)))
        graph = read_graph(model, torch.float64)
        return tape, run(replace(graph, output=output), tape, values, set()), leaves

    def jacobians(self, number: int) -> list[Array]:
        """Of output `number` by each leaf."""
        return self._of_formula(number) if self.formula is not None else self._of_affine(number)

    def _of_formula(self, number: int) -> list[Array]:
        tensors: list[Tensor | None] = [None if x is None else torch.from_numpy(np.asarray(x)) for x in self.inputs]

        def function(*changed: Tensor) -> Tensor:
            assert self.formula is not None
            given = list(tensors)
            for slot, tensor in zip(self.leaves, changed, strict=True):
                given[slot] = tensor
            y = self.formula(*given)
            return y if isinstance(y, Tensor) else y[number]

        arguments = tuple(t for i in self.leaves if (t := tensors[i]) is not None)
        return [j.numpy() for j in torch.autograd.functional.jacobian(function, arguments)]

    def _of_affine(self, number: int) -> list[Array]:
        base = self.expected()[number]
        found = []
        for slot in self.leaves:
            x = self.inputs[slot]
            assert x is not None
            columns = np.zeros((*base.shape, x.size))
            for i in range(x.size):
                step = np.zeros(x.size)
                step[i] = 1.0
                columns[..., i] = self.expected(**{f"x{slot}": x + step.reshape(x.shape)})[number] - base
            found.append(columns.reshape(*base.shape, *x.shape))
        return found


def _typed(name: str, x: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)


def case(
    op_type: str,
    inputs: Sequence[Array | None],
    formula: Formula | None = None,
    *,
    fixed: tuple[int, ...] = (),
    n_outputs: int = 1,
    nodes: Sequence[tuple[str, list[str], list[str], dict[str, Any]]] = (),
    opset: int = OPSET,
    **attributes: Any,
) -> Case:
    """See Case."""
    return Case(op_type, tuple(inputs), formula, attributes, fixed, n_outputs, tuple(nodes), opset)


def normal(*shape: int, seed: int = 0) -> Array:
    """Random numbers without ties and, with this generator, not close to any kink of the operators tested."""
    return np.asarray(np.random.default_rng([seed, *shape]).normal(size=shape))


def positive(*shape: int, seed: int = 0) -> Array:
    """Random numbers between 0.5 and 2."""
    return np.asarray(np.random.default_rng([seed, *shape]).uniform(0.5, 2.0, size=shape))


def ints(*values: Any) -> Array:
    """An int64 vector."""
    return np.array(values, dtype=np.int64)


def scalar(value: float) -> Array:
    """A float64 scalar."""
    return np.array(value, dtype=np.float64)
