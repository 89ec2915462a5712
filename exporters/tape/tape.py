"""The tape: one sample's run of a graph as a list of primitive calls. The tape *is* the lowered graph.

Each Value knows, beside its numbers, which vertices its elements are: an operator's output makes new vertices, a copy
only hands on the vertices it repeats, and a constant has none. Vertices are numbered as they appear, parameters
first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..models import ModelError, SampleError, reason
from ..operators.arguments import integers
from ..operators.registry import COMPOSITES, OF_SHAPES, PRIMITIVES, WITHOUT_GRADIENT, Primitive
from .log import Guard, Log, Pick, Step, no_gradient, numbers
from .parameter_vertices import ParameterVertices, element_numbers, overlaps
from .token_axes import Place, place, place_without_gradient, reads_numbers
from .token_spans import TokenSpan
from .values import TapeTensor, Value, without_data

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Label:
    """Where an operator belongs: its module and role, the layer and step (token) of a recurrence, and its name.

    heads: whether an attention that it is part of has heads on an axis of their own
    """

    module: str = ""
    role: str = ""
    heads: bool = True
    layer: int | None = None
    step: int | None = None
    name: str = ""

    @property
    def component(self) -> str:
        """The default component: module, layer and role."""
        layer = None if self.layer is None else f"l{self.layer}"
        role = "" if self.module.rpartition(".")[2] == self.role else self.role
        return ".".join(part for part in (self.module, layer, role) if part) or "model"


@dataclass(eq=False, slots=True)
class Call:
    """One primitive operator; `order` is its place on the tape.

    first_vertex: the vertex of element 0 of its output; None for a copy, which makes none
    """

    order: int
    primitive: Primitive
    inputs: tuple[Value | None, ...]
    output: Value
    attributes: dict[str, Any]
    label: Label
    first_vertex: int | None

    @property
    def outputs(self) -> slice:
        """The vertices that its output is."""
        assert self.first_vertex is not None
        return slice(self.first_vertex, self.first_vertex + self.output.data.numel())


class Tape:
    """Runs operators and records the differentiable ones.

    parameter_vertices: what is known of the parameters' vertices from other samples
    `tape(op_type, *values, **attributes)` runs an ONNX operator: a primitive is recorded, a composite calls primitives.
    """

    def __init__(self, dtype: torch.dtype, parameter_vertices: ParameterVertices | None = None) -> None:
        self.dtype = dtype
        self.parameter_vertices = parameter_vertices or ParameterVertices(0)
        self.calls: list[Call] = []
        self.tensors: list[TapeTensor] = []
        self.log = Log()
        self.facts: dict[Hashable, Any] = {}  # of its graph, shared with the tapes of other samples
        self._of_sample: dict[Hashable, Any] = {}
        self._ranges: set[int] = set()  # where new vertices, one after the other, lie in memory
        self.n_vertices = 0
        self.parts: list[tuple[Tensor, str]] = []  # vertices of parameter slices that a composite named
        self._label = Label()
        self.n_outputs = 1  # how many outputs of the current ONNX node are read
        self.n_iterations = 0  # of all loops so far
        self.token_spans: list[TokenSpan] = []  # those that the current ONNX node depends on
        self._used_names: dict[str, int] = {}

    # Making values

    def leaf(self, name: str, kind: str, data: Tensor, vertices: Tensor | None = None) -> Value:
        """A parameter or an input: its elements are new vertices. `vertices` may be shared between tapes."""
        if vertices is None:
            vertices = self._new_vertices(data.shape)
        value = self.log.hold(Value(data, vertices, varies=True))
        return self._append(TapeTensor(name, kind, value, first_vertex=self.n_vertices)).value

    def given(self, data: Tensor) -> Value:
        """An input without vertices, of which every sample has its own."""
        return self.log.hold(Value(data, varies=True))

    def constant(self, data: Tensor) -> Value:
        """A tensor without vertices, the same for all samples of the graph."""
        return self.log.hold(Value(data.detach()))

    def integers(self, values: Sequence[int]) -> Value:
        """A constant int64 vector: axes, shapes, starts and ends."""
        return self.constant(torch.tensor(list(values), dtype=torch.int64))

    def constant_integer(self, value: int) -> Value:
        """A constant int64 scalar: an index."""
        return self.constant(torch.tensor(value, dtype=torch.int64))

    def number(self, value: float) -> Value:
        """A constant scalar of the recording's dtype."""
        return self.constant(torch.tensor(value, dtype=self.dtype))

    # Looking at numbers: rules must not do it otherwise, or what they saw of one sample would hold for the next

    def compute(self, find: Callable[..., Tensor], *values: Value) -> Value:
        """A tensor without vertices, which `find` makes of the values' numbers."""
        find = no_gradient(find)
        made = self.log.hold(Value(find(*(x.data for x in values)), varies=any(x.varies for x in values)))
        self._log_step(find, values, {}, made)
        return made

    def decide(self, find: Callable[..., Answer], *values: Value | None) -> Answer:
        """What `find` says of the values' numbers, and the graph depends on."""
        found = find(*(None if x is None else x.data for x in values))
        if any(x is not None and x.varies for x in values):
            self.log.steps.append(Guard(find, numbers(values), found))
        return found

    def decide_tensor(self, find: Callable[..., Tensor], *values: Value) -> Tensor:
        """The same for a tensor, which must not be changed."""
        return self.decide(no_gradient(find), *values)

    def integers_of(self, value: Value) -> list[int]:
        """The integers of a value that the graph depends on."""
        return self.decide(integers, value)

    # Facts of the graph, found once

    def of_graph(self, key: Hashable, find: Callable[[], Answer]) -> Answer:
        """What `find` says of the graph, whatever the sample."""
        if key not in self.facts:
            self.facts[key] = find()
        found: Answer = self.facts[key]
        return found

    def repeats_one(self, value: Value) -> bool:
        """Whether two elements are the same vertex."""
        return self._of_vertices("repeats", value, self._repeats_one)

    def count(self, value: Value) -> int:
        """The number of elements that are vertices, not constants."""
        return self._of_vertices("count", value, self.parameter_vertices.count)

    def _repeats_one(self, vertices: Tensor) -> bool:
        if vertices.untyped_storage().data_ptr() in self._ranges and not overlaps(vertices):
            return False
        return self.parameter_vertices.repeats_one(vertices)

    def _new_vertices(self, shape: Sequence[int]) -> Tensor:
        vertices = torch.arange(self.n_vertices, self.n_vertices + prod(shape))
        self._ranges.add(vertices.untyped_storage().data_ptr())
        return vertices.reshape(tuple(shape))

    def is_parameter(self, value: Value) -> bool:
        """Whether its numbers are those of a parameter, in another order perhaps, or a part of them."""
        storage = value.data.untyped_storage().data_ptr()
        parameters = (t.value.data for t in self.tensors if t.kind == "parameter")
        return any(data.untyped_storage().data_ptr() == storage for data in parameters)

    def _of_vertices(self, what: str, value: Value, find: Callable[[Tensor], Answer]) -> Answer:
        vertices, key = value.vertices, (what, value.number)
        assert vertices is not None
        facts = self._of_sample if value.picked else self.facts
        if key not in facts:
            facts[key] = find(vertices)
        found: Answer = facts[key]
        return found

    # Labels

    @property
    def role(self) -> str:
        """The role that operators called now carry, '' for none."""
        return self._label.role

    @contextmanager
    def labelled(self, **changes: Any) -> Iterator[None]:
        """Operators called inside carry these label fields (module, role, layer, step, name)."""
        before = self._label
        self._label = replace(before, **changes)
        try:
            yield
        finally:
            self._label = before

    def name_part(self, value: Value, part: str) -> None:
        """Say that `value`, a slice of a parameter, is its part for one gate."""
        if value.vertices is not None:
            self.parts.append((value.vertices, part))

    def parameter_of(self, value: Value) -> str | None:
        """The name of the parameter that the first element of `value` is, if it is one."""
        if value.vertices is None:
            return None
        first = int(value.vertices.reshape(-1)[0])
        owners = (t for t in self.tensors if t.kind == "parameter" and t.first_vertex is not None)
        return next((t.name for t in owners if 0 <= first - (t.first_vertex or 0) < t.size), None)

    # Running operators

    def __call__(self, op_type: str, *inputs: Value | None, **attributes: Any) -> Value:
        """Run one operator with a single output."""
        value = self.run(op_type, *inputs, **attributes)
        assert isinstance(value, Value)
        return value

    def run(self, op_type: str, *inputs: Value | None, **attributes: Any) -> Any:
        """Run one operator: a Value, or a list of them for a composite with several outputs."""
        primitive = PRIMITIVES.get(op_type)
        if primitive is not None:
            return self._run(primitive, inputs, attributes)
        if op_type in WITHOUT_GRADIENT:
            data = [None if x is None else x.data for x in inputs]
            output = self._compute(op_type, WITHOUT_GRADIENT[op_type], data, attributes)
            token_offsets = place_without_gradient(op_type, inputs, tuple(output.shape)).token_offsets
            varies = op_type not in OF_SHAPES and any(x is not None and x.varies for x in inputs)
            value = self.log.hold(Value(output, token_offsets=token_offsets, varies=varies))
            self._log_step(WITHOUT_GRADIENT[op_type], inputs, attributes, value)
            return value
        if op_type in COMPOSITES:
            _check_attributes(op_type, COMPOSITES[op_type], attributes)
            return COMPOSITES[op_type](self, *inputs, **attributes)
        raise ModelError(f"no rule for operator {op_type}")

    def _run(self, primitive: Primitive, inputs: tuple[Value | None, ...], attributes: dict[str, Any]) -> Value:
        data = [None if x is None else x.data for x in inputs]
        output = self._compute(primitive.name, primitive.compute, data, attributes)
        token_offsets, token = self._place(primitive, inputs, attributes, tuple(output.shape))
        token = self._label.step if token is None else token
        varies = any(x is not None and x.varies for x in inputs)
        value = self.log.hold(Value(output, None, None, token_offsets, token, varies=varies))
        self._log_step(primitive.compute, inputs, attributes, value)
        if not output.requires_grad:
            return value
        if any(output is x for x in data):
            value.data = output.view_as(output)  # a tensor of its own, with a gradient of its own
        if primitive.kind == "reduces":
            for x in inputs[1:]:
                if x is not None and _chooses(x):  # the axes, which say who enters what
                    self.decide_tensor(torch.clone, x)
        if primitive.kind == "copies":
            value.vertices = self._repeated(primitive, inputs, attributes, value)
            kind, first_vertex = "copy", None
        else:
            value.vertices = self._new_vertices(output.shape)
            kind, first_vertex = "activation", self.n_vertices
        self._add_tensor(value, kind, first_vertex, primitive.name)
        self.calls.append(Call(len(self.calls), primitive, inputs, value, attributes, self._label, first_vertex))
        return value

    def _log_step(
        self, compute: Any, inputs: tuple[Value | None, ...], attributes: dict[str, Any], output: Value
    ) -> None:
        if output.varies:
            whole = any(x is not None and x.varies and not x.data.is_floating_point() for x in inputs)
            self.log.steps.append(Step(compute, numbers(inputs), attributes, output.number, whole))

    def _place(
        self, primitive: Primitive, inputs: tuple[Value | None, ...], attributes: dict[str, Any], shape: tuple[int, ...]
    ) -> Place:
        """Where tokens lie in the output of a primitive."""
        if reads_numbers(primitive, inputs, attributes):
            known = [None if x is None else without_data(x) for x in inputs]

            def find(*data: Tensor | None) -> Place:
                others = [
                    None if x is None or d is None else replace(x, data=d) for x, d in zip(known, data, strict=True)
                ]
                return place(primitive, others, attributes, shape)

            return self.decide(find, *inputs)
        return place(primitive, inputs, attributes, shape)

    def _compute(self, op_type: str, compute: Any, data: list[Tensor | None], attributes: dict[str, Any]) -> Tensor:
        _check_attributes(op_type, compute, attributes)
        try:
            result: Tensor = compute(*data, **attributes)
        except NotImplementedError as error:
            raise ModelError(f"{self._where(op_type)}: {error}") from error
        except (IndexError, RuntimeError, ValueError, MemoryError) as error:
            raise SampleError(f"{self._where(op_type)}: {reason(error)}") from error
        return result

    def _repeated(
        self, primitive: Primitive, inputs: tuple[Value | None, ...], attributes: dict[str, Any], output: Value
    ) -> Tensor:
        """Whom each output element of a copy repeats: the copy itself, run on element numbers."""
        repeats = primitive.repeats or primitive.compute
        output.picked = any(x is not None and (x.picked or _chooses(x)) for x in inputs)
        if output.picked:
            self.log.picks.append(Pick(repeats, numbers(inputs), attributes, output.number))
            return repeats(*element_numbers(inputs), **attributes)
        return self.parameter_vertices.copied(primitive.name, repeats, element_numbers(inputs), attributes)

    def _add_tensor(self, value: Value, kind: str, first_vertex: int | None, op_type: str) -> Value:
        name = self._unique_name(self._label, op_type)
        return self._append(TapeTensor(name, kind, value, len(self.calls), first_vertex)).value

    def _append(self, tensor: TapeTensor) -> TapeTensor:
        tensor.value.tensor = len(self.tensors)
        self.tensors.append(tensor)
        if tensor.first_vertex is not None:
            self.n_vertices += tensor.size
        return tensor

    def _unique_name(self, label: Label, op_type: str) -> str:
        step = None if label.step is None else f"t{label.step}"
        parts = [label.component, step, op_type]
        name = ".".join(part for part in parts if part)
        count = self._used_names.get(name, 0) + 1
        self._used_names[name] = count
        return name if count == 1 else f"{name}_{count}"

    def _where(self, op_type: str) -> str:
        name = f" {self._label.name!r}" if self._label.name else ""
        module = f" in module {self._label.module!r}" if self._label.module else ""
        return f"operator {op_type}{name}{module}"


def _chooses(x: Value) -> bool:
    """Whether it may be an index or a mask that each sample has its own of."""
    return x.vertices is None and x.varies and not x.data.is_floating_point()


def _check_attributes(op_type: str, compute: Any, attributes: dict[str, Any]) -> None:
    """Refuse an attribute left out that the rule needs, and one that it would not read: numbers would be wrong."""
    missing = sorted(_required_attributes(compute) - set(attributes))
    if missing:
        raise ModelError(f"operator {op_type} has no attribute {', '.join(missing)}, which it needs")
    if not attributes:
        return
    accepted = _accepted_attributes(compute)
    unread = sorted(set(attributes) - accepted) if accepted is not None else []
    if unread:
        raise ModelError(f"operator {op_type} has attribute {', '.join(unread)}, which its rule does not read")


@cache
def _required_attributes(compute: Any) -> set[str]:
    try:
        parameters = inspect.signature(compute).parameters.values()
    except ValueError:
        return set()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}


@cache
def _accepted_attributes(compute: Any) -> set[str] | None:
    try:
        parameters = inspect.signature(compute).parameters.values()
    except ValueError:  # a built-in function of torch: takes no attributes of ONNX
        return set()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind is not inspect.Parameter.VAR_POSITIONAL}
