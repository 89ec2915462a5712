"""Where tokens lie: every rule against the numbers of the tokens themselves; the texts found in a sample's inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gradtrace.exporters import lowering as _composites  # noqa: F401  registers them
from gradtrace.exporters import operators as _primitives  # noqa: F401  registers them
from gradtrace.exporters.onnx_graph.values import Axes
from gradtrace.exporters.tape.tape import Tape
from gradtrace.exporters.tape.token_axes import TokenOffsets, axis_names
from gradtrace.exporters.tape.token_spans import TokenSpan, find_token_spans, symbols
from gradtrace.exporters.tape.values import Value

FIRST, T = 4, 3


def words(*shape: int, axis: int = 1, first: int = FIRST) -> Value:
    """A tensor whose elements are the numbers of their tokens, along `axis`."""
    numbers = first + torch.arange(shape[axis])
    data = numbers.reshape([-1 if a == axis else 1 for a in range(len(shape))]).expand(shape).clone()
    return Value(data, token_offsets=tuple(first if a == axis else None for a in range(len(shape))))


def ints(*values: int) -> Value:
    return Value(torch.tensor(values))


# operator, inputs, attributes, where the tokens lie in its output
COPIES: list[tuple[str, list[Value], dict[str, Any], TokenOffsets]] = [
    ("Identity", [words(1, T, 2)], {}, (None, FIRST, None)),
    ("Transpose", [words(1, T, 2)], {"perm": [1, 2, 0]}, (FIRST, None, None)),
    ("Transpose", [words(1, T, 2)], {}, (None, FIRST, None)),
    ("Reshape", [words(1, T, 4), ints(1, T, 2, 2)], {}, (None, FIRST, None, None)),
    ("Reshape", [words(1, T, 4), ints(T, 4)], {}, (FIRST, None)),
    ("Reshape", [words(2, T, 4), ints(2 * T, 4)], {}, ()),
    ("Reshape", [words(1, T, 4), ints(-1)], {}, ()),
    ("Reshape", [words(1, 1, 4), ints(1, 1, 2, 2)], {}, (None, FIRST, None, None)),
    ("Flatten", [words(1, T, 2)], {"axis": 2}, (FIRST, None)),
    ("Squeeze", [words(1, T, 2), ints(0)], {}, (FIRST, None)),
    ("Unsqueeze", [words(1, T, 2), ints(1)], {}, (None, None, FIRST, None)),
    ("Expand", [words(1, T, 1), ints(2, T, 5)], {}, (None, FIRST, None)),
    ("Expand", [words(1, 1, 2), ints(1, 5, 2)], {}, ()),
    ("Slice", [words(1, T, 2), ints(1), ints(3), ints(1)], {}, (None, FIRST + 1, None)),
    ("Slice", [words(1, T, 2), ints(-1), ints(9), ints(1)], {}, (None, FIRST + 2, None)),
    ("Slice", [words(1, T, 2), ints(-1), ints(-9), ints(1), ints(-1)], {}, ()),
    ("Slice", [words(1, T, 2), ints(0), ints(9), ints(1), ints(2)], {}, ()),
    ("Slice", [words(1, T, 2), ints(0), ints(1), ints(2)], {}, (None, FIRST, None)),
    ("Pad", [words(1, T), ints(0, 1, 0, 0), ints(0)], {}, ()),
    ("Pad", [words(1, T), ints(0, 0, 0, 1), ints(0)], {}, ()),
    ("Pad", [words(1, T, 2), ints(0, 0, 1, 0, 0, 1), ints(0)], {}, (None, FIRST, None)),
    ("Pad", [words(1, T), ints(0, -1, 0, 0), ints(0)], {}, (None, FIRST + 1)),
    ("Tile", [words(1, T, 2), ints(1, 1, 3)], {}, (None, FIRST, None)),
    ("Tile", [words(1, T, 2), ints(1, 2, 1)], {}, ()),
    ("Gather", [words(1, T, 2), ints(2)], {"axis": 1}, (None, FIRST + 2, None)),
    ("Gather", [words(1, T, 2), ints(0, 1, -1)], {"axis": 1}, (None, FIRST, None)),
    ("Gather", [words(1, T, 2), ints(1, 0)], {"axis": 1}, ()),
    ("Gather", [words(1, T, 2), ints(1, 0)], {"axis": 2}, (None, FIRST, None)),
    ("GatherElements", [words(T, 5, axis=0), Value(torch.tensor([[4], [0], [2]]))], {"axis": 1}, (FIRST, None)),
    ("GatherND", [words(T, 5, axis=0), Value(torch.tensor([[1], [2]]))], {}, (FIRST + 1, None)),
    ("Concat", [words(1, T, 2), words(1, T, 3)], {"axis": 2}, (None, FIRST, None)),
    ("Concat", [words(1, T), words(1, 2, first=FIRST + T)], {"axis": 1}, (None, FIRST)),
    ("Concat", [words(1, T), words(1, 2, first=0)], {"axis": 1}, ()),
    ("Concat", [words(1, 2), Value(torch.tensor([[7]]))], {"axis": 1}, ()),
    ("Where", [Value(torch.ones(1, T, 1, dtype=torch.bool)), words(1, T, 2), ints(0)], {}, (None, FIRST, None)),
    ("Where", [Value(torch.ones(1, T, dtype=torch.bool)), words(1, T), words(1, T, first=0)], {}, ()),
    ("Trilu", [words(1, T, T)], {"upper": 0}, (None, FIRST, None)),
    ("ScatterND", [words(T, 2, axis=0), Value(torch.tensor([[1]])), Value(torch.zeros(1, 2).long())], {}, ()),
]
IDS = [f"{operator}-{i}" for i, (operator, *_) in enumerate(COPIES)]


@pytest.mark.parametrize(("operator", "inputs", "attributes", "wanted"), COPIES, ids=IDS)
def test_copies(operator: str, inputs: list[Value], attributes: dict[str, Any], wanted: TokenOffsets) -> None:
    """An element that is told to be of a token is of that one: its number says so. 0 is padding."""
    output = Tape(torch.float64)(operator, *inputs, **attributes)
    assert output.token_offsets == wanted
    for axis, first in enumerate(wanted):
        if first is not None:
            sizes = [-1 if a == axis else 1 for a in range(output.data.dim())]
            told = (first + torch.arange(output.shape[axis])).reshape(sizes).expand(output.shape)
            assert bool(((output.data == told) | (output.data == 0)).all())


def test_one_hot() -> None:
    made = Tape(torch.float64)("OneHot", words(1, T), Value(torch.tensor(9)), Value(torch.tensor([0, 1])))
    assert made.token_offsets == (None, FIRST, None)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "wanted"),
    [
        ("Add", [(1, T, 2), (2,)], {}, (None, FIRST, None)),
        ("Add", [(1, T, 2), (1, T, 2, 0)], {}, ()),
        ("Add", [(1, 1, 2), (1, T, 2)], {}, (None, FIRST, None)),
        ("MatMul", [(1, T, 2), (2, 5)], {}, (None, FIRST, None)),
        ("MatMul", [(1, T, 2), (2,)], {}, (None, FIRST)),
        ("ReduceSum", [(1, T, 2)], {"axes": [2], "keepdims": 0}, (None, FIRST)),
        ("ReduceMean", [(1, T, 2)], {"axes": [-1]}, (None, FIRST, None)),
        ("ReduceMean", [(1, T, 2)], {"axes": [0], "keepdims": 0}, (FIRST, None)),
        ("ReduceMax", [(1, T, 2)], {"axes": [1]}, ()),
        ("ReduceSum", [(1, T, 2)], {}, ()),
        ("ReduceSum", [(1, T, 2)], {"noop_with_empty_axes": 1}, (None, FIRST, None)),
    ],
)
def test_other_kinds(operator: str, inputs: list[tuple[int, ...]], attributes: Any, wanted: TokenOffsets) -> None:
    """Inputs of three axes run over tokens along the second one, from FIRST on or what a fourth number says."""
    values = [
        words(*shape[:3], first=shape[3] if len(shape) > 3 else FIRST) if len(shape) > 2 else Value(torch.ones(shape))
        for shape in inputs
    ]
    for value in values:
        value.data = value.data.double()
    assert Tape(torch.float64)(operator, *values, **attributes).token_offsets == wanted


def test_queries_and_keys() -> None:
    """Two texts of one length: the scores know which is which."""
    query, key = words(1, 2, T, 5, axis=2, first=T), words(1, 2, T, 5, axis=2, first=0)
    for value in (query, key):
        value.data = value.data.double()
    tape = Tape(torch.float64)
    scores = tape("MatMul", query, tape("Transpose", key, perm=[0, 1, 3, 2]))
    assert scores.token_offsets == (None, None, T, 0)
    assert axis_names(scores.token_offsets, None) == [None, None, "step", "key"]
    assert axis_names(scores.token_offsets, 3) == [None, None, "key", "key"]


def test_iterations_that_are_stacked() -> None:
    """States of consecutive steps lie along a token axis, those in another order do not."""
    tape = Tape(torch.float64)
    states = []
    for step in (FIRST, FIRST + 1, FIRST + 2):
        with tape.labelled(step=step):
            states.append(tape("Tanh", Value(torch.ones(1, 2, dtype=torch.float64))))
    rows = [tape("Unsqueeze", state, tape.integers([1])) for state in states]
    assert tape("Concat", *rows, axis=1).token_offsets == (None, FIRST, None)
    assert tape("Concat", *reversed(rows), axis=1).token_offsets == ()
    assert tape("Concat", *states, axis=0).token_offsets == (FIRST, None)


# The texts of a sample

DECLARED = {"source": (1, "s"), "ids": (1, "t"), "targets": (1, "t")}


@pytest.mark.parametrize(
    ("shapes", "n_tokens", "first_token", "wanted"),
    [
        (((1, 3), (1, 3), (1, 3)), 6, {"source": 0, "ids": 3}, [("source", 1, 0, 3, "s"), ("ids", 1, 3, 3, "t")]),
        (((1, 2), (1, 3), (1, 3)), 5, {"ids": 2}, [("source", 1, 0, 2, "s"), ("ids", 1, 2, 3, "t")]),
        (((1, 2), (1, 3), (1, 3)), 5, {"ids": 0, "source": 3}, [("ids", 1, 0, 3, "t"), ("source", 1, 3, 2, "s")]),
        (((1, 2), (1, 3), (1, 3)), 2, {"source": 0, "ids": 2}, [("source", 1, 0, 2, "s"), ("ids", 1, 2, 3, "t")]),
        (((3, 3), (3, 3), (3, 3)), 6, {"ids": 3}, [("source", 1, 0, 3, "s"), ("ids", 1, 3, 3, "t")]),
        (((1, 2), (1, 3), (1, 3)), 3, {}, [("ids", 1, 0, 3, "t")]),
        (((1, 2), (1, 3), (1, 3)), 4, {}, []),
        (((1, 2), (1, 3), (1, 3)), 0, {}, []),
    ],
)
def test_texts(shapes: Any, n_tokens: int, first_token: dict[str, int], wanted: list[Any]) -> None:
    found = find_token_spans(DECLARED, dict(zip(DECLARED, shapes, strict=True)), n_tokens, first_token)
    assert found == [TokenSpan(*text) for text in wanted]


def test_sizes_that_any_length_may_have_go_first() -> None:
    declared: dict[str, Axes] = {"x": (1, 3), "ids": (1, "t")}
    assert find_token_spans(declared, {"x": (1, 3), "ids": (1, 3)}, 3, {}) == [TokenSpan("ids", 1, 0, 3, "t")]
    assert find_token_spans({"x": (1, 3)}, {"x": (1, 3)}, 3, {}) == [TokenSpan("x", 1, 0, 3)]


def test_a_symbol_of_two_texts_says_nothing() -> None:
    source, target = TokenSpan("source", 1, 0, 3, "s"), TokenSpan("ids", 1, 3, 3, "t")
    assert symbols([source, target, TokenSpan("x", 1, 3, 3)]) == {"s": 0, "t": 3}
    assert symbols([source, TokenSpan("ids", 1, 3, 3, "s")]) == {}
