"""Einsum as transposes, sums and matrix products, two operands at a time from left to right.

A label of both operands that nobody needs afterwards is contracted (K); one that is needed is a batch axis; the others
are rows (M) or columns (N): ... x M x K times ... x K x N.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from math import prod

import torch

from ..models import ModelError
from ..operators.registry import composite
from ..tape.tape import Tape
from ..tape.values import Value

_ELLIPSIS = "0123456789"  # labels for the axes that `...` stands for, the last axis last


@dataclass(frozen=True)
class _Term:
    """An operand and one label per axis."""

    value: Value
    labels: str

    def size(self, label: str) -> int:
        return self.value.shape[self.labels.index(label)]


@composite("Einsum", multiplies=True)
def einsum(tape: Tape, *inputs: Value, equation: str) -> Value:
    """The sum of products that `equation` (`bij,bjk->bik`) says; repeated labels and `...` as in NumPy."""
    terms, output = _parsed(equation, inputs)
    done: _Term | None = None
    for i, term in enumerate(terms):
        needed = set(output).union(*(later.labels for later in terms[i + 1 :]))
        term = _diagonal(tape, term)
        if done is None:
            done = _summed(tape, term, needed)
        else:
            left = _summed(tape, done, needed | set(term.labels))
            done = _product(tape, left, _summed(tape, term, needed | set(left.labels)), needed)
    assert done is not None
    return _arranged(tape, done, output).value


def _parsed(equation: str, inputs: tuple[Value, ...]) -> tuple[list[_Term], str]:
    """The operands with their labels, and the labels of the output."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(inputs):
        raise ModelError(f"operator Einsum with equation {equation!r} has {len(inputs)} inputs")
    hidden = [x.data.dim() - len(text.replace("...", "")) for x, text in zip(inputs, texts, strict=True)]
    terms = [
        _Term(x, text.replace("...", _ELLIPSIS[len(_ELLIPSIS) - n :] if "..." in text else ""))
        for x, text, n in zip(inputs, texts, hidden, strict=True)
    ]
    if any(len(term.labels) != term.value.data.dim() for term in terms):
        raise ModelError(f"operator Einsum with equation {equation!r} does not fit its inputs' axes")
    longest = max((n for n, text in zip(hidden, texts, strict=True) if "..." in text), default=0)
    ellipsis = _ELLIPSIS[len(_ELLIPSIS) - longest :]
    if arrow:
        return terms, right.replace("...", ellipsis)
    labels = list(chain.from_iterable(text.replace("...", "") for text in texts))
    return terms, ellipsis + "".join(sorted(label for label in set(labels) if labels.count(label) == 1))


def _diagonal(tape: Tape, term: _Term) -> _Term:
    """Axes of one label become one axis: their diagonal."""
    for label in term.labels:
        while term.labels.count(label) > 1:
            n = term.size(label)
            i = term.labels.index(label)
            j = term.labels.index(label, i + 1)
            rest = [a for a in range(len(term.labels)) if a not in (i, j)]
            moved = tape("Transpose", term.value, perm=[i, j, *rest])
            flat = tape("Reshape", moved, tape.integers([n * n, *moved.shape[2:]]))
            value = tape("Gather", flat, tape.constant(torch.arange(n) * (n + 1)), axis=0)
            term = _Term(value, label + "".join(term.labels[a] for a in rest))
    return term


def _summed(tape: Tape, term: _Term, needed: set[str]) -> _Term:
    """Summed over the axes that nobody else has."""
    axes = [a for a, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    value = tape("ReduceSum", term.value, tape.integers(axes), keepdims=0)
    return _Term(value, "".join(label for label in term.labels if label in needed))


def _arranged(tape: Tape, term: _Term, labels: str) -> _Term:
    """The axes in the order of `labels`, of which the term has all."""
    if term.labels == labels:
        return term
    return _Term(tape("Transpose", term.value, perm=[term.labels.index(label) for label in labels]), labels)


def _product(tape: Tape, a: _Term, b: _Term, needed: set[str]) -> _Term:
    """The product, summed over the common labels that are not needed."""
    batch = "".join(label for label in a.labels if label in b.labels and label in needed)
    inner = "".join(label for label in a.labels if label in b.labels and label not in needed)
    rows = "".join(label for label in a.labels if label not in b.labels)
    columns = "".join(label for label in b.labels if label not in a.labels)
    left = _matrix(tape, a, batch, rows, inner)
    right = _matrix(tape, b, batch, inner, columns)
    product = tape("MatMul", left, right) if inner else tape("Mul", left, right)
    sizes = [*product.shape[:-2], *(a.size(label) for label in rows), *(b.size(label) for label in columns)]
    return _Term(tape("Reshape", product, tape.integers(sizes)), batch + rows + columns)


def _matrix(tape: Tape, term: _Term, batch: str, rows: str, columns: str) -> Value:
    """batch x rows x columns, the labels of rows, and of columns, on one axis each; batch axes may have size 1."""
    value = _arranged(tape, term, batch + rows + columns).value
    sizes = [prod(term.size(label) for label in labels) for labels in (rows, columns)]
    shape = [*value.shape[: len(batch)], *sizes]
    return value if list(value.shape) == shape else tape("Reshape", value, tape.integers(shape))
