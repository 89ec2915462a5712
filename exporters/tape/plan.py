"""Replay: further samples of a graph, run as the plain list of torch calls that its first sample left behind.

A plan holds no number of the sample it was made from. Where a sample would take another way through the rules (a guard
does not hold, a shape differs, torch refuses), the replay says so and the sample is run afresh.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from itertools import chain

from torch import Tensor

from .log import Guard
from .parameter_vertices import element_numbers
from .tape import Call, Tape
from .values import TapeTensor, Value, without_data

_PLANS = 4  # of samples alike in shape: they differ in what their masks and indices choose
_VERTICES = 1 << 25  # of the activations of all plans kept: some 25 bytes each
LARGEST = 1 << 24  # of one plan: what Python costs is little beside so many


class Plan:
    """What a tape did, for further samples.

    leaves: the numbers of the values that a sample brings along, by name
    output: the number of the loss
    """

    def __init__(self, tape: Tape, leaves: Mapping[str, Value], output: Value) -> None:
        self.leaves = {name: value.number for name, value in leaves.items()}
        self.output = output.number
        self._steps = tape.log.steps
        self._constants = [None if x.varies else x.data for x in tape.log.values]
        self._sketch = _Copied(tape, [without_data(x) if x.varies else x for x in tape.log.values]).tape
        self.size = tape.n_vertices - tape.parameter_vertices.n

    def run(self, leaves: Mapping[str, Tensor]) -> Tape | None:
        """The tape of another sample; None where its graph may be another one."""
        data = list(self._constants)
        for name, number in self.leaves.items():
            data[number] = leaves[name]
        try:
            if not self._replay(data):
                return None
        except (IndexError, RuntimeError, ValueError, NotImplementedError):  # the fresh run says what is wrong
            return None
        return self._tape(data)

    def _replay(self, data: list[Tensor | None]) -> bool:
        """Fill in the data of every value; whether all is as it was."""
        sketch = self._sketch.log.values
        for step in self._steps:
            if isinstance(step, Guard):
                if not step.holds(data):
                    return False
                continue
            compute, inputs, attributes, output, checked = step
            operands = [data[number] if number >= 0 else None for number in inputs]
            made = compute(*operands, **attributes)
            if checked and made.shape != sketch[output].shape:
                return False
            for x in operands:
                if x is made:
                    made = made.view_as(made)  # see Tape
                    break
            data[output] = made
        return True

    def _tape(self, data: list[Tensor | None]) -> Tape:
        values = [
            Value(d, x.vertices, x.tensor, x.token_offsets, x.token, x.number, x.varies, x.picked)  # type: ignore[arg-type]
            for d, x in zip(data, self._sketch.log.values, strict=True)
        ]
        for pick in self._sketch.log.picks:
            inputs = [values[number] if number >= 0 else None for number in pick.inputs]
            values[pick.output].vertices = pick.repeats(*element_numbers(inputs), **pick.attributes)
        return _Copied(self._sketch, values).tape


class _Copied:
    """A tape with other values in the place of its own."""

    def __init__(self, tape: Tape, values: list[Value]) -> None:
        copied = self.tape = Tape(tape.dtype, tape.parameter_vertices)
        copied.calls = [
            Call(
                call.order,
                call.primitive,
                tuple([None if x is None else values[x.number] for x in call.inputs]),
                values[call.output.number],
                call.attributes,
                call.label,
                call.first_vertex,
            )
            for call in tape.calls
        ]
        copied.tensors = [
            TapeTensor(t.name, t.kind, values[t.value.number], t.node, t.first_vertex, t.axis_names, t.first_step)
            for t in tape.tensors
        ]
        copied.n_vertices, copied.parts = tape.n_vertices, tape.parts
        copied.log.values, copied.log.picks, copied.facts = values, tape.log.picks, tape.facts


class Plans:
    """The plans of a recorder's samples by what their graphs depend on, those used last kept."""

    def __init__(self) -> None:
        self._plans: OrderedDict[Hashable, list[Plan]] = OrderedDict()

    def of(self, key: Hashable) -> Iterator[Plan]:
        """Those that a sample may follow, the one used last in front."""
        found = self._plans.get(key, [])
        if found:
            self._plans.move_to_end(key)
        yield from list(found)

    def add(self, key: Hashable, plan: Plan) -> None:
        """Keep a plan; those not used for long go."""
        if plan.size > LARGEST:
            return
        self._plans[key] = [plan, *self._plans.get(key, [])][:_PLANS]
        self._plans.move_to_end(key)
        while len(self._plans) > 1 and sum(p.size for p in chain.from_iterable(self._plans.values())) > _VERTICES:
            self._plans.popitem(last=False)

    def used(self, key: Hashable, plan: Plan) -> None:
        """Put a plan in front."""
        plans = self._plans[key]
        plans.remove(plan)
        plans.insert(0, plan)

    def clear(self) -> None:
        """Forget all: the parameters have changed, and with them what was decided by their numbers."""
        self._plans.clear()
