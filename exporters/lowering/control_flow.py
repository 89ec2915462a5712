"""If, Loop and Scan: executed, and so unrolled on the tape. A body's operators carry the iteration as their step.

Where the iterations run over a text, the step is the token of the iteration.
A body arrives as a function that runs the subgraph once: body(*inputs) -> its outputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..models import ModelError, SampleError
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value

Body = Callable[..., list[Any]]

MOST_ITERATIONS = 100_000  # of all loops of a sample together: one that never ends is stopped


@composite("If")
def if_(tape: Tape, condition: Value, *, then_branch: Body, else_branch: Body) -> list[Any]:
    """The outputs of the branch that the sample takes; the other one is not in the graph."""
    return then_branch() if tape.decide(bool, condition) else else_branch()


@composite("Loop")
def loop(tape: Tape, limit: Value | None, condition: Value | None, *carried: Any, body: Body) -> list[Any]:
    """The last carried values, then each scanned output stacked over the iterations.

    body(iteration, condition, *carried) -> condition, *carried, *scanned
    """
    states, rows, scans = list(carried), [], tape.n_outputs > len(carried)
    going = condition is None or tape.decide(bool, condition)
    most = None if limit is None else tape.decide(int, limit)
    first = max((x.first for x in tape.token_spans if x.length == most), default=0)
    for i in itertools.count() if most is None else range(most):
        if not going:
            break
        tape.n_iterations += 1
        if tape.n_iterations > MOST_ITERATIONS:
            raise SampleError(f"operator Loop has run {MOST_ITERATIONS:,} times on this sample, which is the limit")
        with tape.labelled(step=first + i):
            result = body(tape.constant_integer(i), tape.constant(torch.tensor(True)), *states)
        going, states = tape.decide(bool, result[0]), result[1 : 1 + len(states)]
        rows.append(result[1 + len(states) :])
    if scans and not rows:
        raise _no_shape("Loop")
    return [*states, *(stacked(tape, column, 0) for column in zip(*rows, strict=True))]


@composite("Scan")
def scan(
    tape: Tape,
    *inputs: Value,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: list[int] | None = None,
    scan_input_directions: list[int] | None = None,
    scan_output_axes: list[int] | None = None,
    scan_output_directions: list[int] | None = None,
) -> list[Value]:
    """The last carried values, then each scanned output stacked over the steps.

    inputs: the carried values, then `num_scan_inputs` tensors that are read slice by slice along their scan axes
    body(*carried, *slices) -> *carried, *scanned; the step of an operator is the place of its slices
    """
    n_carried = len(inputs) - num_scan_inputs
    states, scanned = list(inputs[:n_carried]), inputs[n_carried:]
    axes = scan_input_axes or [0] * num_scan_inputs
    lengths = {x.shape[axis] for x, axis in zip(scanned, axes, strict=True)}
    if len(lengths) != 1:
        raise ModelError(f"operator Scan reads inputs of {sorted(lengths)} slices; all must have as many")
    n_steps = lengths.pop()
    backwards = scan_input_directions or [0] * num_scan_inputs
    first = (
        next(
            (x.token_offsets[a] for x, a in zip(scanned, axes, strict=True) if x.token_offsets and x.token_offsets[a]),
            0,
        )
        or 0
    )
    rows = []
    for t in range(n_steps):
        at = [tape.constant_integer(n_steps - 1 - t if back else t) for back in backwards]
        place = n_steps - 1 - t if all(backwards) else t
        with tape.labelled(step=first + place):
            slices = [tape("Gather", x, i, axis=axis) for x, i, axis in zip(scanned, at, axes, strict=True)]
            result = body(*states, *slices)
        states = result[:n_carried]
        rows.append(result[n_carried:])
    if not rows:
        raise _no_shape("Scan")
    columns = _turned(rows, scan_output_directions or [0] * len(rows[0]))
    places = scan_output_axes or [0] * len(columns)
    return [*states, *(stacked(tape, column, axis) for column, axis in zip(columns, places, strict=True))]


def stacked(tape: Tape, values: Sequence[Value], axis: int) -> Value:
    """Values of one shape along a new axis."""
    rows = [tape("Unsqueeze", value, tape.integers([axis])) for value in values]
    return rows[0] if len(rows) == 1 else tape("Concat", *rows, axis=axis)


def _turned(rows: list[list[Value]], backwards: Sequence[int]) -> list[list[Value]]:
    """The scanned outputs, each over all steps, in the order of time or backwards."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    return [column[::-1] if back else column for column, back in zip(columns, backwards, strict=True)]


def _no_shape(op_type: str) -> SampleError:
    return SampleError(f"operator {op_type} ran zero times on this sample, so that its scanned outputs have no shape")
