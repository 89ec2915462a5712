"""Text to train on: the prose of Python's own documentation, or any text file, as tokenised sentences.

Tokens: a word with its inner hyphens, dots and apostrophes (`state-of-the-art`, `sys.path`, `don't`), a number, an
abbreviation (`e.g.`), or one punctuation mark. Text that is already tokenised keeps its tokens: WikiText's `<unk>`,
`@-@` and `'s` are one token each. Tokenising tokenised text changes nothing. Words are lower-cased unless asked
otherwise, because on a small corpus `The` and `the` should share what they learn.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.models import SampleError

PYTHON_DOCS = "python-docs"

Sentence = list[str]


class CorpusError(SampleError):
    """A corpus cannot be used. The message says what was got, what was wanted, and what to do."""


@dataclass(frozen=True)
class Corpus:
    """Tokenised sentences, split into those to train on and those held out."""

    train: list[Sentence]
    held_out: list[Sentence]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all sentences: equal for equal text, whatever file or Python version it came from."""
        digest = hashlib.sha256()
        for part in (self.train, self.held_out):
            digest.update("".join(" ".join(sentence) + "\n" for sentence in part).encode() + b"\0")
        return digest.hexdigest()


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
    if _share(bool(_WHOLE_LINE.search(line)) for line in filled) >= _MOST:
        split = [split_sentences(line) for line in filled]
        one_each = _share(len(sentences) == 1 for sentences in split) >= _MOST
        return filled if one_each else [sentence for sentences in split for sentence in sentences]
    if len(filled) == len(lines):
        return filled
    paragraphs = re.split(r"\n{2,}", "\n".join(lines))
    return [sentence for paragraph in paragraphs for sentence in split_sentences(paragraph.replace("\n", " "))]


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
    return bool(re.match(r"\(?\w", sentence) and _WHOLE_LINE.search(sentence) and not _CODE_LEFT.search(sentence))


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


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        near = " Did you mean python-docs?" if difflib.get_close_matches(str(path), [PYTHON_DOCS]) else ""
        raise CorpusError(
            f"the corpus {path} does not exist. Give a text file, or {PYTHON_DOCS} for Python's own documentation."
            + near
        ) from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"the corpus {path} is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except OSError as error:
        raise CorpusError(f"the corpus {path} cannot be read: {error.strerror}. Give a text file.") from error


def _of_length(sentences: Iterable[Sentence], longest: int) -> Iterator[Sentence]:
    return (sentence for sentence in sentences if 2 <= len(sentence) <= longest)


def split_held_out(sentences: Sequence[Sentence], every: int) -> Corpus:
    """Hold out the sentences `every`-1, 2·`every`-1, ...: the same ones each time."""
    train = [sentence for i, sentence in enumerate(sentences) if i % every != every - 1]
    return Corpus(train, list(sentences[every - 1 :: every]))


def load_corpus(name: str, *, held_out_every: int = 10, longest: int = 60, lowercase: bool = True) -> Corpus:
    """The corpus `name`: `python-docs`, or the path of a UTF-8 text file (see `sentences_of_text`).

    held_out_every: 10 holds out every tenth sentence
    longest:        sentences of more tokens than this, or of a single one, are left out
    Raises CorpusError when the file cannot be read, or has too few sentences to hold one out.
    """
    raw = python_docs() if name == PYTHON_DOCS else sentences_of_text(_read(Path(name)))
    sentences = list(_of_length((tokenize(sentence, lowercase) for sentence in raw), longest))
    if len(sentences) < held_out_every:
        raise CorpusError(
            f"the corpus {name} has {len(sentences)} sentences of 2 to {longest} tokens; to hold out every "
            f"{held_out_every}th one, at least {held_out_every} are needed. Give more text."
        )
    return split_held_out(sentences, held_out_every)
