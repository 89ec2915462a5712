"""Words and their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...exporters.models import ModelError, SampleError
from ...queries.manifest import replace_file
from .corpora import Layout

UNKNOWN = "<unk>"  # stands for every word outside the vocabulary
END = "<eos>"  # ends a sentence, and is what the first word is predicted from
SPECIAL = (UNKNOWN, END)


@dataclass(frozen=True)
class Vocabulary:
    """`words[i]` is the word with number i; the first two are `<unk>` and `<eos>`.

    lowercase: whether text is lower-cased before its words are looked up
    special:   the words it starts with; none for labels, a closed set that has no unknown member and no end

    Raises ModelError when the special words do not come first, or a word occurs twice.
    """

    words: tuple[str, ...]
    lowercase: bool = True
    special: tuple[str, ...] = SPECIAL
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[: len(self.special)] != self.special:
            wanted = ", ".join(self.special)
            raise ModelError(f"a vocabulary starts with {wanted}; this one starts with {self.words[:2]}.")
        numbers = {word: number for number, word in enumerate(self.words)}
        if len(numbers) != len(self.words):
            twice = next(word for word, times in Counter(self.words).items() if times > 1)
            raise ModelError(f"a vocabulary holds each word once; this one holds {twice!r} more than once.")
        object.__setattr__(self, "_numbers", numbers)

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def encode(self, words: Iterable[str]) -> list[int]:
        """The number of each word, that of `<unk>` for the ones outside the vocabulary.

        Raises SampleError for a word outside a vocabulary that has no `<unk>`.
        """
        words = list(words)
        unknown = self._numbers.get(UNKNOWN)
        if unknown is None:
            self._check_known(words)
        return [self._numbers.get(word, unknown or 0) for word in words]

    def _check_known(self, words: Iterable[str]) -> None:
        for word in words:
            if word not in self:
                raise SampleError(f"there is no label {word!r}. The model knows {', '.join(self.words)}.")

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """The word of each number. Raises IndexError for a number outside [0, len(self))."""
        numbers = list(numbers)
        if any(not 0 <= number < len(self) for number in numbers):
            raise IndexError(f"word numbers run from 0 to {len(self) - 1}; got {numbers}.")
        return [self.words[number] for number in numbers]


def build_vocabulary(sentences: Iterable[Sequence[str]], size: int, lowercase: bool = True) -> Vocabulary:
    """The `size` most frequent words of `sentences`, special words included; ties go in alphabetical order.

    Raises ModelError when `size` leaves no room for a word beside the special ones.
    """
    if size <= len(SPECIAL):
        raise ModelError(f"a vocabulary of {size} words has no room beside {', '.join(SPECIAL)}; ask for 3 or more.")
    counts = Counter(word for sentence in sentences for word in sentence if word not in SPECIAL)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return Vocabulary((*SPECIAL, *ranked[: size - len(SPECIAL)]), lowercase)


def build_labels(labels: Iterable[str]) -> Vocabulary:
    """Every label there is, in alphabetical order. Raises ModelError when all are the same."""
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise ModelError(f"the samples have the label {', '.join(names)} alone; to tell apart, two are needed.")
    return Vocabulary(names, lowercase=False, special=())


def build_vocabularies(layout: Layout, lines: Iterable[str], size: int, lowercase: bool = True) -> list[Vocabulary]:
    """A vocabulary for each part of tokenised lines: all labels, or the `size` most frequent words of a text."""
    columns = zip(*(line.split("\t") for line in lines), strict=True)
    return [
        build_labels(column) if part.is_label else build_vocabulary(map(str.split, column), size, lowercase)
        for part, column in zip(layout.parts, columns, strict=True)
    ]


def save_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    """Write `vocabulary` to the JSON file `path`, atomically."""
    raw = {"lowercase": vocabulary.lowercase, "special": vocabulary.special, "words": vocabulary.words}
    replace_file(path, json.dumps(raw, ensure_ascii=False, indent=0).encode())


def load_vocabulary(path: Path) -> Vocabulary:
    """Read what `save_vocabulary` wrote. Raises ModelError when the file is missing or damaged."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        words, lowercase = tuple(raw["words"]), raw["lowercase"]
        special = tuple(raw.get("special", SPECIAL))  # runs of version 0.1 do not say
        if not isinstance(lowercase, bool) or not all(isinstance(word, str) for word in words):
            raise TypeError("words must be strings and lowercase true or false")
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing; without it words have no numbers. Train the model again.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error!r}). Restore it, or train the model again.") from error
    return Vocabulary(words, lowercase, special)
