"""Words out of text.

Tokens: a word with its inner hyphens, dots and apostrophes (`state-of-the-art`, `sys.path`, `don't`), a number, an
abbreviation (`e.g.`), or one punctuation mark. Text that is already tokenised keeps its tokens: WikiText's `<unk>`,
`@-@` and `'s` are one token each. Tokenising tokenised text changes nothing. Words are lower-cased unless asked
otherwise, because on a small corpus `The` and `the` should share what they learn.
"""

from __future__ import annotations

import html
import re

Sentence = list[str]

_TOKEN = re.compile(
    r"<unk>|<eos>"
    r"|@[-.,]@"  # WikiText's hyphen, decimal point and thousands separator
    r"|(?:[^\W\d_]\.){2,}"  # e.g., U.S.
    r"|\d+(?:,\d{3})+(?:\.\d+)?"  # 1,000.5
    r"|\w+(?:[-.'’]\w+)*"
    r"|['’](?:s|d|m|t|ll|re|ve)\b"  # a clitic that the text has split off
    r"|\.\.\.|--+"
    r"|[^\w\s]",
    re.IGNORECASE,
)


def tokenize(text: str, lowercase: bool = True) -> Sentence:
    """The tokens of one sentence, none for a blank one."""
    return _TOKEN.findall(text.lower() if lowercase else text)


_ELISION = re.compile(r"\b((?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu)['’])(?=\s*\w)", re.IGNORECASE)
_CLOSED = re.compile(rf"{_ELISION.pattern}|{_TOKEN.pattern}", re.IGNORECASE)


def tokenize_side(text: str, lowercase: bool = True) -> Sentence:
    """The tokens of one side of a translation: an elided French word is one of its own, as `l'` in `l'homme`.

    Entities such as Moses' `&apos;` are read as what they stand for.
    """
    text = html.unescape(text)
    return [match[0] for match in _CLOSED.finditer(text.lower() if lowercase else text)]
