"""Opinions that words alone do not give away: `not` and `never` turn an adjective round, and two may agree or clash.

    S -> clause "." | clause "and" clause "." | clause "but" clause "."
    clause -> subject "was" (negation) (degree) adjective

The label is that of the only clause, of both clauses (`and`), or of the second (`but`, whose clauses differ). With
adjectives as good as bad and negation as likely as none, no single word but the combination tells: the features that
the convolutions of a `text_cnn` find are bigrams and trigrams.
"""

from __future__ import annotations

import random

SUBJECTS = tuple(f"the {noun}" for noun in ("acting", "book", "film", "ending", "music", "plot", "story", "writing"))
NEGATIONS = ("not", "never")
DEGREES = ("really", "so", "very")
ADJECTIVES = {
    "positive": ("beautiful", "brilliant", "clever", "funny", "good", "moving"),
    "negative": ("awful", "bad", "boring", "dull", "ugly", "weak"),
}
LABELS = ("positive", "negative")


def other(label: str) -> str:
    """The opposite label."""
    return LABELS[1 - LABELS.index(label)]


def _clause(rng: random.Random, label: str) -> str:
    negated = rng.random() < 0.5
    adjective = rng.choice(ADJECTIVES[other(label) if negated else label])
    negation = [rng.choice(NEGATIONS)] if negated else []
    degree = [rng.choice(DEGREES)] if rng.random() < 0.4 else []
    return " ".join((rng.choice(SUBJECTS), "was", *negation, *degree, adjective))


def make(rng: random.Random) -> tuple[str, str]:
    """One sample: its label, and the sentence."""
    label = rng.choice(LABELS)
    kind = rng.choice(("one", "and", "but"))
    clause = _clause(rng, label)
    if kind == "one":
        return label, f"{clause} ."
    first = _clause(rng, label if kind == "and" else other(label))
    return label, f"{first} {kind} {clause} ."
