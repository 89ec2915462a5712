"""Words and their numbers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporters.models import ModelError
from queries.schema import replace_file

UNKNOWN = "<unk>"  # stands for every word outside the vocabulary
END = "<eos>"  # ends a sentence, and is what the first word is predicted from
SPECIAL = (UNKNOWN, END)


@dataclass(frozen=True)
class Vocabulary:
    """`words[i]` is the word with number i; the first two are `<unk>` and `<eos>`.

    lowercase: whether text is lower-cased before its words are looked up

    Raises ModelError when the special words are not the first two, or a word occurs twice.
    """

    words: tuple[str, ...]
    lowercase: bool = True
    _numbers: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL)] != SPECIAL:
            raise ModelError(f"a vocabulary starts with {', '.join(SPECIAL)}; this one starts with {self.words[:2]}.")
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
        """The number of each word, that of `<unk>` for the ones outside the vocabulary."""
        unknown = self._numbers[UNKNOWN]
        return [self._numbers.get(word, unknown) for word in words]

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


def save_vocabulary(vocabulary: Vocabulary, path: Path) -> None:
    """Write `vocabulary` to the JSON file `path`, atomically."""
    raw = {"lowercase": vocabulary.lowercase, "words": vocabulary.words}
    replace_file(path, json.dumps(raw, ensure_ascii=False, indent=0).encode())


def load_vocabulary(path: Path) -> Vocabulary:
    """Read what `save_vocabulary` wrote. Raises ModelError when the file is missing or damaged."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        words, lowercase = tuple(raw["words"]), raw["lowercase"]
        if not isinstance(lowercase, bool) or not all(isinstance(word, str) for word in words):
            raise TypeError("words must be strings and lowercase true or false")
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing; without it words have no numbers. Train the model again.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error!r}). Restore it, or train the model again.") from error
    return Vocabulary(words, lowercase)
