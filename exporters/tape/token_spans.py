"""The texts of a sample: which axis of which input its tokens lie along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Axes = tuple[int | str | None, ...]  # sizes, symbols, or None when nothing is known of an axis


@dataclass(frozen=True)
class TokenSpan:
    """One text: `length` tokens from token `first` on, along an axis of the graph input `name`.

    symbol: what the export calls the size of that axis; None where the export holds for this length only
    """

    name: str
    axis: int
    first: int
    length: int
    symbol: str | None = None


def find_token_spans(
    declared: Mapping[str, Axes], shapes: Mapping[str, Sequence[int]], n_tokens: int, first_token: Mapping[str, int]
) -> list[TokenSpan]:
    """The texts of a sample with inputs of these shapes, `declared` being the axes that the export names.

    first_token: input name -> the token that its text begins with; the text lies along the first axis of its length,
        else along the one behind the batch axis
    The tokens in front of all of these are the text of the first other input that has an axis as long, if one has.
    """
    starts = sorted({*first_token.values(), n_tokens})
    token_spans = _unnamed([name for name in declared if name not in first_token], declared, shapes, starts[0])
    for name, first in first_token.items():
        if shapes[name]:
            length = next((start for start in starts if start > first), first) - first
            axis = (_as_long(shapes[name], length) or [min(1, len(shapes[name]) - 1)])[0]
            token_spans.append(_text(name, axis, first, declared, shapes))
    return token_spans


def symbols(token_spans: Sequence[TokenSpan]) -> dict[str, int]:
    """The first token along every axis that has a text's symbol for its size; none for a symbol of two texts."""
    token_offsets: dict[str, set[int]] = {}
    for span in token_spans:
        if span.symbol is not None:
            token_offsets.setdefault(span.symbol, set()).add(span.first)
    return {symbol: min(found) for symbol, found in token_offsets.items() if len(found) == 1}


def _unnamed(
    names: Sequence[str], declared: Mapping[str, Axes], shapes: Mapping[str, Sequence[int]], length: int
) -> list[TokenSpan]:
    """The text at token 0: axes of any length go first, for a size may be as long by chance."""
    found = [
        _text(name, axis, 0, declared, shapes)
        for name in names
        for axis in (_as_long(shapes[name], length) if length else [])
    ]
    return sorted(found, key=lambda span: span.symbol is None)[:1]


def _as_long(shape: Sequence[int], length: int) -> list[int]:
    """The axes of this length, the batch axis last."""
    return [axis for axis in (*range(1, len(shape)), 0)[: len(shape)] if shape[axis] == length]


def _text(
    name: str, axis: int, first: int, declared: Mapping[str, Axes], shapes: Mapping[str, Sequence[int]]
) -> TokenSpan:
    symbol = declared[name][axis]
    return TokenSpan(name, axis, first, shapes[name][axis], symbol if isinstance(symbol, str) else None)
