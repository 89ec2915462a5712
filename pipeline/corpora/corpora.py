"""What models are trained on: lines of tokenised text, from files or out of this project's own grammars.

A line is a sample, as the encoder of a task takes it: one field of text, or several with a TAB between them. Each field
has a vocabulary of its own.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...exporters.models import SampleError
from ...queries.errors import nearest
from .grammars import sentences_about_agreement, sentences_of_opinion, translated_sentences
from .python_docs import python_docs
from .sentences import sentences_of_text
from .tokens import Sentence, tokenize, tokenize_side

PYTHON_DOCS = "python-docs"
AGREEMENT = "agreement"
TRANSLATION = "translation"
OPINIONS = "opinions"

GENERATED = 4000  # samples of a generated corpus, unless its name says how many


class CorpusError(SampleError):
    """A corpus cannot be used. The message says what was got, what was wanted, and what to do."""


@dataclass(frozen=True)
class Corpus:
    """Tokenised lines, split into those to train on and those held out."""

    train: list[str]
    held_out: list[str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all lines: equal for equal text, whatever file or Python version it came from."""
        digest = hashlib.sha256()
        for part in (self.train, self.held_out):
            digest.update("".join(f"{line}\n" for line in part).encode() + b"\0")
        return digest.hexdigest()


def one_name(text: str, lowercase: bool = True) -> Sentence:  # noqa: ARG001  a label keeps its case
    """The field of a label: one word, spaces and all."""
    return [text.strip()] if text.strip() else []


@dataclass(frozen=True)
class Part:
    """One field of a line.

    name:     what it is called in errors and in the names of vocabulary files; '' for the only field of a line
    tokenize: (field, lowercase) -> its words
    shortest: fewest words it may have
    """

    name: str
    tokenize: Callable[[str, bool], Sentence]
    shortest: int = 1

    @property
    def is_label(self) -> bool:
        """Whether the field is one name out of a closed set, rather than text."""
        return self.tokenize is one_name


@dataclass(frozen=True)
class Layout:
    """How the lines of a corpus look, and where they come from.

    files:     what --corpus takes beside the built-in names, in words
    read:      the value of --corpus -> raw lines
    built_in:  name -> function from a number of samples to that many raw lines; `python-docs` has all there are
    """

    parts: tuple[Part, ...]
    files: str
    read: Callable[[str], Iterable[str]]
    built_in: Mapping[str, Callable[[int], list[str]]] = field(default_factory=dict)

    def fields(self, line: str, lowercase: bool) -> list[Sentence]:
        """The words of each field of a line. Raises CorpusError when it has more or fewer fields than parts."""
        raw = line.rstrip("\r\n").split("\t") if len(self.parts) > 1 else [line]
        if len(raw) != len(self.parts):
            names = " TAB ".join(part.name for part in self.parts)
            raise CorpusError(f"a line has {len(raw)} fields; {names} is wanted. The line is {line[:60]!r}.")
        return [part.tokenize(text, lowercase) for part, text in zip(self.parts, raw, strict=True)]


# Files


def _read(path: Path, built_in: Sequence[str]) -> str:
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        return text.decode("utf-8-sig")
    except FileNotFoundError as error:
        names = ", ".join(built_in)
        raise CorpusError(
            f"the corpus {path} does not exist. Give a file, or one of {names}.{nearest(str(path), list(built_in))}"
        ) from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"the corpus {path} is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except (gzip.BadGzipFile, EOFError) as error:
        raise CorpusError(f"the corpus {path} cannot be read: {error}. Give a text file, plain or gzipped.") from error
    except OSError as error:
        raise CorpusError(f"the corpus {path} cannot be read: {error.strerror}. Give a text file.") from error


def _lines(path: Path, built_in: Sequence[str]) -> list[str]:
    """Lines end at line feeds only: real text has other separators within its sentences."""
    text = _read(path, built_in).removesuffix("\n")
    return [line.removesuffix("\r") for line in text.split("\n")] if text else []


def _text_lines(name: str) -> list[str]:
    return sentences_of_text(_read(Path(name), [PYTHON_DOCS, AGREEMENT]))


def _filled_lines(name: str, built_in: Sequence[str]) -> list[str]:
    return [line for line in _lines(Path(name), built_in) if line.strip()]


def _pairs(name: str) -> list[str]:
    """The pairs of one file of lines `source TAB target`, or of two parallel files `source,target`."""
    if "," not in name:
        return _filled_lines(name, [TRANSLATION])
    files = name.split(",")
    if len(files) != 2:
        raise CorpusError(f"the corpus {name} names {len(files)} files; a pair is source,target.")
    sides = [_lines(Path(file), [TRANSLATION]) for file in files]
    if len(sides[0]) != len(sides[1]):
        lengths = " and ".join(f"{file} has {len(side)} lines" for file, side in zip(files, sides, strict=True))
        raise CorpusError(f"{lengths}; parallel files have as many lines, each the translation of the other's.")
    return [f"{_one_field(source)}\t{_one_field(target)}" for source, target in zip(*sides, strict=True)]


def _one_field(line: str) -> str:
    return line.replace("\t", " ").strip()


def _labelled(name: str) -> list[str]:
    return _filled_lines(name, [OPINIONS])


TEXT = Layout(
    (Part("", tokenize, shortest=2),),
    "a text file, plain or .gz",
    _text_lines,
    {PYTHON_DOCS: lambda _: python_docs(), AGREEMENT: sentences_about_agreement},
)
PAIRS = Layout(
    (Part("source", tokenize_side), Part("target", tokenize_side)),
    "two parallel files as source,target or one file of lines source TAB target, plain or .gz",
    _pairs,
    {TRANSLATION: translated_sentences},
)
LABELLED = Layout(
    (Part("label", one_name), Part("text", tokenize)),
    "a file of lines label TAB text, plain or .gz",
    _labelled,
    {OPINIONS: sentences_of_opinion},
)


# Loading


def split_held_out(lines: Sequence[str], every: int) -> Corpus:
    """Hold out the lines `every`-1, 2·`every`-1, ...: the same ones each time."""
    train = [line for i, line in enumerate(lines) if i % every != every - 1]
    return Corpus(train, list(lines[every - 1 :: every]))


def load_corpus(
    name: str, layout: Layout = TEXT, *, held_out_every: int = 10, longest: int = 60, lowercase: bool = True
) -> Corpus:
    """The corpus `name`: a file as the layout reads it, or a built-in one; `agreement:500` has 500 samples.

    held_out_every: 10 holds out every tenth line
    longest:        lines with a field of more words than this, or of too few, are left out
    Raises CorpusError when a file cannot be read, has lines of another layout, or too few to hold one out.
    """
    lines = list(_usable(_raw_lines(name, layout), layout, longest, lowercase))
    if len(lines) < held_out_every:
        shortest = max(part.shortest for part in layout.parts)
        raise CorpusError(
            f"the corpus {name} has {len(lines)} samples of {shortest} to {longest} tokens; to hold out every "
            f"{held_out_every}th one, at least {held_out_every} are needed. Give more text."
        )
    return split_held_out(lines, held_out_every)


def _raw_lines(name: str, layout: Layout) -> Iterable[str]:
    built_in = re.fullmatch(r"([a-z-]+)(?::(\d+))?", name)
    if built_in and built_in[1] in layout.built_in:
        return layout.built_in[built_in[1]](int(built_in[2] or GENERATED))
    return layout.read(name)


def _usable(raw: Iterable[str], layout: Layout, longest: int, lowercase: bool) -> Iterator[str]:
    for line in raw:
        fields = layout.fields(line, lowercase)
        sized = zip(layout.parts, fields, strict=True)
        if all(part.shortest <= len(words) <= longest for part, words in sized):
            yield "\t".join(" ".join(words) for words in fields)
