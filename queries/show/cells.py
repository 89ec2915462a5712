"""One value as people read it."""

from __future__ import annotations

_EXACT = 1e15  # whole floats up to here are shown with every digit
_COUNTS = (1e4, 1e8)  # means of counts: four significant digits would leave out digits before the point

# Control characters would act on a terminal, and those of writing direction would reorder what stands around them.
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SURROGATES = range(0xD800, 0xE000)  # halves of characters, as in the name of a file, which no encoding can write
_ESCAPES = {code: repr(chr(code))[1:-1] for code in (*_CONTROLS, *_SURROGATES)}
_IN_JSON = {code: f"\\u{code:04x}" for code in _CONTROLS if chr(code) not in "\n\t"}


def escaped(text: str) -> str:
    """`text` with control characters written out, a line break as a backslash and an n."""
    return text.translate(_ESCAPES)


def escaped_lines(text: str) -> str:
    """`text`, CSV or JSON, as a terminal may get it: control characters stand there as JSON writes them."""
    return text.translate(_IN_JSON)


def cell(value: object) -> str:
    """Four significant digits, of counts those before the point; nothing for null."""
    if value is None:
        return ""
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        return "[" + ", ".join(map(cell, value)) + "]"
    if isinstance(value, dict):
        return ", ".join(f"{escaped(str(name))} = {cell(content)}" for name, content in value.items())
    return escaped(str(value))


def _number(value: float) -> str:
    is_count = _COUNTS[0] <= abs(value) < _COUNTS[1]
    whole = is_count or (abs(value) < _EXACT and value == round(value, 0))
    return f"{value:.0f}" if whole else f"{value:.4g}"


def is_number(value: object) -> bool:
    """Whether a value is aligned to the right."""
    return isinstance(value, int | float) and not isinstance(value, bool)
