"""Sentences out of text files, whichever way these are laid out."""

from __future__ import annotations

import re
from collections.abc import Iterable

_STOP = re.compile(r"""[.!?]+['")\]’”]*(?=\s)""")
_LAST_WORD = re.compile(r"[\w.]+$")
_ABBREVIATIONS = {"e.g", "i.e", "cf", "vs", "mr", "mrs", "ms", "dr", "st", "no", "fig", "prof"}


def _ends_sentence(before: str, after: str) -> bool:
    """Whether the stop between `before` and `after` ends a sentence."""
    if before[-1:].isspace():  # tokenised text: a stop on its own is no abbreviation
        return True
    word = _LAST_WORD.search(before)
    if word and (len(word[0]) == 1 or word[0].lower() in _ABBREVIATIONS):
        return False
    return bool(re.match(r"""\s+["'(\[‘“]?[^\W_a-z]""", after))


def split_sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph of raw or tokenised text, each stripped of outer white space."""
    sentences: list[str] = []
    start = 0
    for stop in _STOP.finditer(paragraph):
        if stop.start() < start or not _ends_sentence(paragraph[start : stop.start()], paragraph[stop.end() :]):
            continue
        end = stop.end()
        # Tokenised text separates a closing quote from its stop: an open quote is closed before the next sentence.
        quote = re.match(r'\s+"(?=\s|$)', paragraph[end:])
        if quote and paragraph.count('"', start, end) % 2:
            end += quote.end()
        sentences.append(paragraph[start:end].strip())
        start = end
    sentences.append(paragraph[start:].strip())
    return [sentence for sentence in sentences if sentence]


_HEADING = re.compile(r"\s*(=+ ).*( =+)\s*$")  # WikiText: ` = = Description = = `
_WHOLE_LINE = re.compile(r"""[.!?]['")\]’”\s]*$""")


def ends_like_a_sentence(line: str) -> bool:
    """Whether `line` ends in a final stop, maybe inside quotes or brackets."""
    return bool(_WHOLE_LINE.search(line))


_MOST = 0.8  # share of lines from which a file is taken to be laid out one way


def _share(flags: Iterable[bool]) -> float:
    flags = list(flags)
    return sum(flags) / max(len(flags), 1)


def sentences_of_text(text: str) -> list[str]:
    """The sentences of a text file, whichever way it is laid out; heading lines (` = Title = `) are left out.

    When most lines end like a sentence, a line is one sentence if most are, else a paragraph of several (WikiText).
    When they do not, a file without blank lines has one sentence per line, without final stops (Penn Treebank), and one
    with blank lines has paragraphs broken into lines to fit a page.
    """
    lines = ["" if _HEADING.match(line) else line.strip() for line in text.splitlines()]
    filled = [line for line in lines if line]
    if _share(ends_like_a_sentence(line) for line in filled) >= _MOST:
        split = [split_sentences(line) for line in filled]
        one_each = _share(len(sentences) == 1 for sentences in split) >= _MOST
        return filled if one_each else [sentence for sentences in split for sentence in sentences]
    if len(filled) == len(lines):
        return filled
    paragraphs = re.split(r"\n{2,}", "\n".join(lines))
    return [sentence for paragraph in paragraphs for sentence in split_sentences(paragraph.replace("\n", " "))]
