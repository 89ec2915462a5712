"""English subject–verb agreement with attractors, over short and long distances (after Linzen et al. 2016).

    S   -> NP (adverb) predicate, which agrees with the head noun of NP
    NP  -> "the" (adjective) noun M
    M   -> nothing | PP | SRC | ORC            each about the noun right before it
    PP  -> preposition NP
    SRC -> "that" verb NP                      the verb agrees with the noun before "that"
    ORC -> "that" NP verb                      the verb agrees with the head of that NP

The determiner never tells the number: the head noun alone decides. An attractor is a noun of the other number between
the head noun and the verb.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

Number = str  # "singular" or "plural"
Forms = tuple[str, str]  # singular, plural

NUMBERS: tuple[Number, Number] = ("singular", "plural")
NOUNS: tuple[Forms, ...] = (
    ("author", "authors"), ("boy", "boys"), ("child", "children"), ("dancer", "dancers"), ("dog", "dogs"),
    ("doctor", "doctors"), ("farmer", "farmers"), ("friend", "friends"), ("girl", "girls"), ("guard", "guards"),
    ("man", "men"), ("neighbor", "neighbors"), ("pilot", "pilots"), ("teacher", "teachers"), ("woman", "women"),
)  # fmt: skip
ADJECTIVES = ("happy", "old", "quiet", "small", "tall", "young")
PREPOSITIONS = ("behind", "beside", "near", "with")
TRANSITIVE: tuple[Forms, ...] = (
    ("admires", "admire"), ("avoids", "avoid"), ("follows", "follow"), ("hears", "hear"), ("knows", "know"),
    ("likes", "like"), ("sees", "see"), ("trusts", "trust"),
)  # fmt: skip
INTRANSITIVE: tuple[Forms, ...] = (
    ("laughs", "laugh"), ("sings", "sing"), ("sleeps", "sleep"), ("smiles", "smile"), ("waits", "wait"),
    ("works", "work"),
)  # fmt: skip
AUXILIARY: tuple[tuple[Forms, tuple[str, ...]], ...] = (
    (("is", "are"), ("angry", "asleep", "here", "tired", "waiting")),
    (("was", "were"), ("angry", "asleep", "here", "tired", "waiting")),
    (("has", "have"), ("arrived", "left", "returned", "slept")),
)
ADVERBS = ("always", "never", "often", "rarely", "usually")
ENDINGS = ("again", "at home", "every day", "in the garden", "tonight")

DEPTH = 3  # how deep noun phrases lie in noun phrases
MODIFIERS = ("none", "pp", "subject_relative", "object_relative")


@dataclass(frozen=True)
class Agreement:
    """A sentence, cut before its main verb, and what is known about it.

    prefix, rest: words before and after the verb
    right, wrong: the verb in the number of the head noun, and in the other
    attractors:   nouns of the other number between head noun and verb
    distance:     words between head noun and verb
    structure:    the modifiers, from the head noun inwards: `pp`, `subject_relative+pp`; `none` without
    """

    prefix: str
    right: str
    wrong: str
    rest: str
    number: Number
    attractors: int
    distance: int
    structure: str

    def sentence(self) -> str:
        """The whole sentence, with the right verb."""
        return f"{self.prefix} {self.right} {self.rest}"

    def line(self) -> str:
        """prefix TAB right TAB wrong TAB number TAB attractors TAB distance TAB structure."""
        known = (self.number, str(self.attractors), str(self.distance), self.structure)
        return "\t".join((self.prefix, self.right, self.wrong, *known))


@dataclass
class _NounPhrase:
    """Words up to the head noun, words after it, and the numbers of the nouns after it."""

    number: Number
    head: list[str]
    after: list[str]
    inner: list[Number]
    structure: list[str]

    @property
    def words(self) -> list[str]:
        return self.head + self.after


def _form(forms: Forms, number: Number) -> str:
    return forms[NUMBERS.index(number)]


def _noun_phrase(rng: random.Random, depth: int) -> _NounPhrase:
    number = rng.choice(NUMBERS)
    adjective = [rng.choice(ADJECTIVES)] if rng.random() < 0.2 else []
    phrase = _NounPhrase(number, ["the", *adjective, _form(rng.choice(NOUNS), number)], [], [], [])
    kind = rng.choices(MODIFIERS, (2, 2, 1, 1))[0] if depth < DEPTH else "none"
    if kind != "none":
        inner = _noun_phrase(rng, depth + 1)
        phrase.after = _modifier(rng, kind, number, inner)
        phrase.inner = [inner.number, *inner.inner]
        phrase.structure = [kind, *inner.structure]
    return phrase


def _modifier(rng: random.Random, kind: str, outer: Number, inner: _NounPhrase) -> list[str]:
    verb = rng.choice(TRANSITIVE)
    if kind == "pp":
        return [rng.choice(PREPOSITIONS), *inner.words]
    if kind == "subject_relative":
        return ["that", _form(verb, outer), *inner.words]
    return ["that", *inner.words, _form(verb, inner.number)]


def _predicate(rng: random.Random) -> tuple[Forms, str]:
    """The verb, and what follows it."""
    if rng.random() < 0.5:
        forms, complements = rng.choice(AUXILIARY)
        return forms, f"{rng.choice(complements)} ."
    return rng.choice(INTRANSITIVE), f"{rng.choice(ENDINGS)} ."


def make(rng: random.Random) -> Agreement:
    """One sample."""
    subject = _noun_phrase(rng, 0)
    adverb = [rng.choice(ADVERBS)] if rng.random() < 0.2 else []
    forms, rest = _predicate(rng)
    between = subject.after + adverb
    return Agreement(
        prefix=" ".join(subject.head + between),
        right=_form(forms, subject.number),
        wrong=_form(forms, NUMBERS[1 - NUMBERS.index(subject.number)]),
        rest=rest,
        number=subject.number,
        attractors=sum(number != subject.number for number in subject.inner),
        distance=len(between),
        structure="+".join(subject.structure) or "none",
    )
