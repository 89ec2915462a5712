"""Split and the sequence operators: several outputs, each a slice of one tensor."""

from __future__ import annotations

from ..models import SampleError
from ..operators.arguments import Integers, integers
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value


def _sizes(tape: Tape, x: Value, split: Value | Integers | None, axis: int, n_parts: int) -> list[int]:
    """The parts' sizes along `axis`: as given, or n_parts alike with a smaller last one."""
    whole = x.shape[axis]
    if split is not None:
        return _checked(tape.integers_of(split) if isinstance(split, Value) else integers(split), whole)
    each = -(-whole // n_parts)
    return [min(each, whole - i * each) for i in range(n_parts)]


def _checked(sizes: list[int], whole: int) -> list[int]:
    """Raise SampleError for sizes of parts that do not make up the whole."""
    if min(sizes, default=0) < 0 or sum(sizes) != whole:
        raise SampleError(f"parts of the sizes {sizes} were asked of an axis of size {whole}")
    return sizes


def _slices(tape: Tape, x: Value, sizes: list[int], axis: int) -> list[Value]:
    parts, start = [], 0
    for size in sizes:
        parts.append(tape("Slice", x, tape.integers([start]), tape.integers([start + size]), tape.integers([axis])))
        start += size
    return parts


@composite("Split")
def split_(
    tape: Tape, x: Value, split: Value | Integers | None = None, *, axis: int = 0, num_outputs: int | None = None
) -> list[Value]:
    """x cut along `axis`, one slice for each output."""
    return _slices(tape, x, _sizes(tape, x, split, axis, num_outputs or tape.n_outputs), axis)


@composite("SplitToSequence")
def split_to_sequence(
    tape: Tape, x: Value, split: Value | None = None, *, axis: int = 0, keepdims: int = 1
) -> list[list[Value]]:
    """x cut along `axis` into a sequence; a scalar `split` is the size of every part but the last."""
    whole = x.shape[axis]
    if split is None:
        sizes = [1] * whole
    elif split.data.dim() == 0:
        each = tape.decide(int, split)
        sizes = [min(each, whole - start) for start in range(0, whole, each)]
    else:
        sizes = _checked(tape.integers_of(split), whole)
    parts = _slices(tape, x, sizes, axis)
    if split is None and not keepdims:
        parts = [tape("Squeeze", part, tape.integers([axis])) for part in parts]
    return [parts]


@composite("SequenceAt")
def sequence_at(tape: Tape, sequence: list[Value], position: Value) -> Value:
    """One element of a sequence."""
    return sequence[tape.decide(int, position)]


@composite("SequenceConstruct")
def sequence_construct(tape: Tape, *values: Value) -> list[list[Value]]:
    """A sequence of these tensors."""
    del tape
    return [list(values)]


@composite("SequenceEmpty")
def sequence_empty(tape: Tape, *, dtype: object = None) -> list[list[Value]]:
    """A sequence without tensors."""
    del tape, dtype
    return [[]]


@composite("SequenceInsert")
def sequence_insert(
    tape: Tape, sequence: list[Value], value: Value, position: Value | None = None
) -> list[list[Value]]:
    """The sequence with one more tensor, in front of `position` or at the end."""
    at = len(sequence) if position is None else tape.decide(int, position)
    return [[*sequence[:at], value, *sequence[at:]]]


@composite("SequenceLength")
def sequence_length(tape: Tape, sequence: list[Value]) -> Value:
    """The number of tensors."""
    return tape.constant_integer(len(sequence))


@composite("ConcatFromSequence")
def concat_from_sequence(tape: Tape, sequence: list[Value], *, axis: int, new_axis: int = 0) -> Value:
    """The sequence's tensors, concatenated or stacked."""
    if new_axis:
        sequence = [tape("Unsqueeze", value, tape.integers([axis])) for value in sequence]
    return tape("Concat", *sequence, axis=axis)
