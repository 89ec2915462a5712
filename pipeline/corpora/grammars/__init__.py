"""Corpora that this project makes itself: small grammars whose samples are known to be right.

Every generator is a function of a number of samples and a seed: the same two give the same samples, on any machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from ....exporters.models import SampleError
from . import agreement, opinions, translation

S = TypeVar("S")

ENOUGH_REPEATS = 1000  # samples in a row that were there before: the grammar is as good as exhausted


def distinct(make: Callable[[random.Random], S], n: int, seed: int) -> list[S]:
    """`n` different samples out of `make`, drawn with `seed`.

    Raises SampleError when the grammar is so small that new samples hardly come any more.
    """
    rng = random.Random(seed)
    found: dict[S, None] = {}
    repeats = 0
    while len(found) < n and repeats < ENOUGH_REPEATS:
        sample = make(rng)
        repeats = repeats + 1 if sample in found else 0
        found[sample] = None
    if len(found) < n:
        raise SampleError(f"the grammar has hardly more than {len(found)} different samples; {n} are wanted.")
    return list(found)


def agreement_lines(n: int, seed: int = 0) -> list[str]:
    """`n` samples of `agreement` with what is known about them (see `Agreement.line`)."""
    return [sample.line() for sample in distinct(agreement.make, n, seed)]


def sentences_about_agreement(n: int, seed: int = 0) -> list[str]:
    """`n` whole sentences of the agreement grammar, to train a language model on."""
    return [sample.sentence() for sample in distinct(agreement.make, n, seed)]


def translated_sentences(n: int, seed: int = 0) -> list[str]:
    """`n` lines English TAB French."""
    return [f"{english}\t{french}" for english, french in distinct(translation.make, n, seed)]


def sentences_of_opinion(n: int, seed: int = 0) -> list[str]:
    """`n` lines label TAB sentence; the label is `positive` or `negative`."""
    return [f"{label}\t{text}" for label, text in distinct(opinions.make, n, seed)]


# What `gradtrace generate` writes: name -> (number of samples, seed) -> lines.
GENERATORS: dict[str, Callable[[int, int], list[str]]] = {
    "agreement": agreement_lines,
    "agreement-sentences": sentences_about_agreement,
    "translation": translated_sentences,
    "opinions": sentences_of_opinion,
}
