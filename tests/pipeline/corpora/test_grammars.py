"""The grammars: what they say about their samples is so, and the files in data/ are theirs.

The word lists here are written out again: the test is to know English and French by itself.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradtrace.exporters.models import SampleError
from gradtrace.pipeline.corpora.grammars import GENERATORS, agreement, distinct, opinions, translation

DATA = Path(__file__).parents[3] / "data"
seeds = st.integers(0, 2**32)

# As data/README.md says they were made: file -> (grammar, count, seed)
FILES = {
    "agreement.tsv": ("agreement", 400, 1),
    "translation.tsv": ("translation", 400, 1),
    "opinions.tsv": ("opinions", 200, 1),
}


@pytest.mark.parametrize("file", FILES)
def test_the_files_in_data_are_made_by_the_commands_that_the_readme_gives(file: str) -> None:
    grammar, count, seed = FILES[file]
    lines = GENERATORS[grammar](count, seed)
    assert (DATA / file).read_text(encoding="utf-8") == "\n".join(lines) + "\n"
    command = f"gradtrace generate {grammar} --count {count} --seed {seed} > data/{file}"
    assert command in (DATA / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", GENERATORS)
def test_samples_are_distinct_and_depend_on_the_seed_alone(name: str) -> None:
    lines = GENERATORS[name](50, 3)
    assert len(set(lines)) == 50
    assert GENERATORS[name](50, 3) == lines
    assert GENERATORS[name](20, 3) == lines[:20]
    assert GENERATORS[name](50, 4) != lines


def test_a_grammar_has_so_many_samples_and_no_more() -> None:
    assert sorted(distinct(lambda rng: rng.choice("ab"), 2, 0)) == ["a", "b"]
    with pytest.raises(SampleError, match="hardly more than 2 different samples; 3 are wanted"):
        distinct(lambda rng: rng.choice("ab"), 3, 0)


# Agreement

PLURAL_NOUNS = {
    "authors", "boys", "children", "dancers", "dogs", "doctors", "farmers", "friends", "girls", "guards", "men",
    "neighbors", "pilots", "teachers", "women",
}  # fmt: skip
SINGULAR_NOUNS = {
    "author", "boy", "child", "dancer", "dog", "doctor", "farmer", "friend", "girl", "guard", "man", "neighbor",
    "pilot", "teacher", "woman",
}  # fmt: skip
SINGULAR_VERBS = {
    "admires", "avoids", "follows", "hears", "knows", "likes", "sees", "trusts", "laughs", "sings", "sleeps", "smiles",
    "waits", "works", "is", "was", "has",
}  # fmt: skip
PLURAL_VERBS = {"are", "were", "have"} | {verb[:-1] for verb in SINGULAR_VERBS - {"is", "was", "has"}}


def number_of(word: str, singular: set[str], plural: set[str]) -> str | None:
    return "singular" if word in singular else "plural" if word in plural else None


@settings(max_examples=300, deadline=None)
@given(seeds)
def test_subject_and_verb_agree(seed: int) -> None:
    sample = agreement.make(random.Random(seed))
    words = sample.prefix.split()
    nouns = [(i, n) for i, word in enumerate(words) if (n := number_of(word, SINGULAR_NOUNS, PLURAL_NOUNS))]
    (head, number), *inner = nouns
    assert number == sample.number
    assert number_of(sample.right, SINGULAR_VERBS, PLURAL_VERBS) == number
    assert number_of(sample.wrong, SINGULAR_VERBS, PLURAL_VERBS) not in (number, None)
    assert sample.attractors == sum(n != number for _, n in inner)
    assert sample.distance == len(words) - 1 - head
    modifiers = 0 if sample.structure == "none" else len(sample.structure.split("+"))
    assert modifiers == len(inner)
    assert sample.line().split("\t")[:3] == [sample.prefix, sample.right, sample.wrong]
    assert sample.sentence() == f"{sample.prefix} {sample.right} {sample.rest}"


@settings(max_examples=300, deadline=None)
@given(seeds)
def test_verbs_inside_relative_clauses_agree(seed: int) -> None:
    """Read as a stack: `that` + verb agrees with the noun before it, a verb later with the last noun left waiting."""
    words = agreement.make(random.Random(seed)).prefix.split()
    waiting: list[str | None] = []  # what the verbs to come agree with, innermost last; None under an open clause
    last = ""
    for i, word in enumerate(words):
        noun = number_of(word, SINGULAR_NOUNS, PLURAL_NOUNS)
        verb = number_of(word, SINGULAR_VERBS, PLURAL_VERBS)
        if noun:
            if words[i - 1] == "the" or words[i - 2] == "the":
                if waiting and waiting[-1] is None:
                    waiting[-1] = noun  # the subject of the clause that is open
                last = noun
        elif word == "that":
            if number_of(words[i + 1], SINGULAR_VERBS, PLURAL_VERBS) is None:
                waiting.append(None)
        elif verb:
            assert verb == (last if words[i - 1] == "that" else waiting.pop())
    assert waiting == []


def test_agreement_has_all_that_it_is_for() -> None:
    samples = [agreement.make(random.Random(seed)) for seed in range(600)]
    assert {sample.number for sample in samples} == {"singular", "plural"}
    assert {0, 1, 2, 3} <= {sample.attractors for sample in samples}
    assert max(sample.distance for sample in samples) > 9
    for kind in ("none", "pp", "subject_relative", "object_relative"):
        assert any(kind in sample.structure.split("+") for sample in samples)
    singular = sum(sample.number == "singular" for sample in samples)
    assert 240 < singular < 360


# Translation

MASCULINE = {"chat", "chien", "garçon", "roi", "jardin", "oiseau", "arbre", "ami", "homme"}
FEMININE = {"fille", "femme", "maison", "reine", "porte", "école", "étoile", "actrice"}
FRENCH_NOUNS = {
    **dict.fromkeys(MASCULINE, ("m", False)),
    **dict.fromkeys(FEMININE, ("f", False)),
    **{f"{noun}s": ("m", True) for noun in MASCULINE - {"oiseau"}},
    **{f"{noun}s": ("f", True) for noun in FEMININE},
    "oiseaux": ("m", True),
}
DETERMINERS = {"le": ("m", False), "la": ("f", False), "un": ("m", False), "une": ("f", False)}
PLURAL_DETERMINERS = {"les", "des", "ces"}
BEFORE = {
    ("m", False): {"petit", "grand", "jeune", "vieux", "vieil", "beau", "bel"},
    ("f", False): {"petite", "grande", "jeune", "vieille", "belle"},
    ("m", True): {"petits", "grands", "jeunes", "vieux", "beaux"},
    ("f", True): {"petites", "grandes", "jeunes", "vieilles", "belles"},
}
AFTER = {
    ("m", False): {"calme", "doux", "intelligent", "fatigué", "heureux"},
    ("f", False): {"calme", "douce", "intelligente", "fatiguée", "heureuse"},
    ("m", True): {"calmes", "doux", "intelligents", "fatigués", "heureux"},
    ("f", True): {"calmes", "douces", "intelligentes", "fatiguées", "heureuses"},
}
ADJECTIVES = set().union(*BEFORE.values(), *AFTER.values())
VOWELS = "aeiouyhéê"
ELIDED = {"le", "la", "de", "ne", "que"}


@settings(max_examples=500, deadline=None)
@given(seeds)
def test_french_noun_phrases_agree(seed: int) -> None:
    _, french = translation.make(random.Random(seed))
    words = french.split()
    for i, noun in enumerate(words):
        if noun not in FRENCH_NOUNS:
            continue
        features = FRENCH_NOUNS[noun]
        first = words[i - 1] if words[i - 1] in ADJECTIVES else None
        assert first is None or first in BEFORE[features]
        determiner = words[i - 2] if first else words[i - 1]
        if determiner in DETERMINERS:
            assert DETERMINERS[determiner] == features
        elif determiner in PLURAL_DETERMINERS:
            assert features[1]
        if words[i + 1] in ADJECTIVES:
            assert words[i + 1] in AFTER[features]


@settings(max_examples=500, deadline=None)
@given(seeds)
def test_french_word_boundaries(seed: int) -> None:
    words = translation.make(random.Random(seed))[1].split()
    for word, after in itertools.pairwise(words):
        vowel = after[0] in VOWELS
        assert not (word in ELIDED and vowel), words
        assert not (word.endswith("'") and not vowel), words
        assert (word, after) not in {("de", "le"), ("de", "les"), ("de", "des"), ("de", "de")}, words
        if word in {"vieil", "bel"}:
            assert vowel
        if word in {"beau", "vieux"} and after in FRENCH_NOUNS and not FRENCH_NOUNS[after][1]:
            assert not vowel


@settings(max_examples=500, deadline=None)
@given(seeds)
def test_pairs_are_well_formed(seed: int) -> None:
    english, french = (side.split() for side in translation.make(random.Random(seed)))
    assert english[-1] == french[-1] == "."
    assert english.count("not") == french.count("pas") == sum(word in {"ne", "n'"} for word in french)
    assert english.count("that") == sum(word in {"qui", "que", "qu'"} for word in french)
    are, sont = english.count("are"), french.count("sont")
    assert are == sont
    subject = next(word for word in french if word in FRENCH_NOUNS)
    if "sont" in french or "est" in french:
        gender, plural = FRENCH_NOUNS[subject]
        assert plural == ("sont" in french)
        assert french[-2] in BEFORE[gender, plural] | AFTER[gender, plural]


def test_translation_has_what_makes_it_hard() -> None:
    french = " | ".join(translation.make(random.Random(seed))[1] for seed in range(1500))
    for piece in ("qu' ", "l' ", "n' ", "d' ", " du ", " des ", "vieil ", "bel ", "qui ", " pas de ", " les aiment "):
        assert piece in french, piece


# Opinions


@settings(max_examples=200, deadline=None)
@given(seeds)
def test_opinions_are_what_their_label_says(seed: int) -> None:
    label, text = opinions.make(random.Random(seed))
    good = {"beautiful", "brilliant", "clever", "funny", "good", "moving"}
    clauses = text.removesuffix(" .").replace(" but ", " and ").split(" and ")
    positive = [(clause.split()[-1] in good) != ({"not", "never"} & set(clause.split()) != set()) for clause in clauses]
    assert ("positive" if positive[-1] else "negative") == label
    if len(clauses) == 2:
        assert (positive[0] == positive[1]) == (" and " in text)
