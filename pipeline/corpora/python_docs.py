"""The prose of Python's own documentation, which every CPython carries."""

from __future__ import annotations

import re

from .sentences import ends_like_a_sentence, split_sentences

_MARKER = re.compile(r"(?:[*•-]|\d+\.|\[\d+\]) +")  # a list item, a footnote
_LABEL = re.compile(
    r"^(?:(?:Changed|New|Added|Deprecated) (?:in|since) version|CPython implementation detail|Note)[^:]{0,9}: *"
)
_NOT_PROSE = re.compile(r"::=|>>>|^ *\.\.\. |^ *[|+]|[-=*]{3,}|^ *\$ ", re.MULTILINE)
_OPENS = re.compile(r"[A-Z\"*(']")
_CLOSES = re.compile(r"(?:[.!?:;][\"')]*|\[\d+\])$")
_NAME_OR_PHRASE = re.compile(r"([A-Za-z_][\w.]*)(?:\(\))?|[a-z]+(?: [a-z]+)+")
_CODE = "\N{OBJECT REPLACEMENT CHARACTER}"  # stands where code was
_CODE_LEFT = re.compile(rf"[{_CODE}=<>{{}}\[\]\\|@#%^~`+*/$\"]|\w\(")


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip())


def _text_lines(block: str) -> list[str]:
    """The lines of a block at one left margin, without the marker of a list item and the term of a definition."""
    lines = block.strip("\n").splitlines()
    marker = _MARKER.match(lines[0].lstrip())
    if marker:
        lines[0] = lines[0].replace(marker[0], " " * len(marker[0]), 1)
    elif len(lines) > 1 and _margin(lines[0]) < _margin(lines[1]):
        lines = lines[1:]
    return lines


def _prose(block: str) -> str | None:
    """The text of a block between blank lines on one line, or None when the block is no prose.

    Prose is a paragraph with an even left margin that starts and ends like sentences do. That leaves out code, grammar,
    tables, headings and signatures.
    """
    if not block.strip() or _NOT_PROSE.search(block):
        return None
    lines = _text_lines(block)
    if len({_margin(line) for line in lines}) > 1:
        return None
    text = _LABEL.sub("", " ".join(line.strip() for line in lines))
    text = re.sub(r"(?<=\w)- (?=\w)", "-", text)  # a compound broken over two lines
    text = re.sub("[‘’]", "'", text)
    return text if _OPENS.match(text) and _CLOSES.search(text) else None


def _plain(text: str) -> str:
    """`text` without the marks for emphasis, footnotes and names; other code becomes `_CODE`."""

    def unquoted(match: re.Match[str]) -> str:
        inner = _NAME_OR_PHRASE.fullmatch(match[1])
        return (inner[1] or inner[0]) if inner else _CODE

    text = re.sub(r'"([^"]*)"', unquoted, text)
    text = re.sub(r"\*{1,2}([^*]+)\*{1,2}", r"\1", text)
    return re.sub(r"\s*\[\d+\]", "", text)


def _is_complete(sentence: str) -> bool:
    """Whether `sentence` is a whole one in words alone."""
    return bool(re.match(r"\(?\w", sentence) and ends_like_a_sentence(sentence) and not _CODE_LEFT.search(sentence))


def python_docs() -> list[str]:
    """English sentences from the language reference that every CPython carries (`pydoc_data.topics`).

    Sentences that hold code other than a plain name are left out. Topics repeat each other, so each sentence is taken
    once: a held-out sentence is never one that was trained on. The text depends on the version of Python.
    """
    from pydoc_data.topics import topics

    blocks = (block for name in sorted(topics) for block in re.split(r"\n\s*\n", topics[name]))
    paragraphs = (_plain(text) for text in map(_prose, blocks) if text)
    sentences = (sentence for paragraph in paragraphs for sentence in split_sentences(paragraph))
    return list(dict.fromkeys(sentence for sentence in sentences if _is_complete(sentence)))
