"""A synchronous grammar of English and French: every rule makes both sides at once.

    S    -> NP VP "."                          VP agrees with NP in number
    VP   -> Vi                                 dort
          | Vt NP                              voit le chat
          | Vt pronoun         / pronoun Vt    sees him / le voit, l'aime
          | "does not" V NP    / "ne" V "pas" NP     n'aime pas; a cat becomes pas de chat
          | "is" adjective                     est grande: agrees with the subject
    NP   -> D (adjective) noun (PP | RC)
            D noun adjective, but petit, grand, vieux, beau ... stay before the noun (bel, vieil before a vowel)
    PP   -> "of the" noun      / du, de la, de l', des
          | preposition NP                     dans le jardin
    RC   -> "that" Vi | "that" NP Vt / "qui" Vi | "que" NP Vt

French nouns have a gender; determiners and adjectives agree with it and with the number. A word that ends in a mute
vowel is elided before a vowel: `l'`, `d'`, `n'`, `qu'`. An elided word is a token of its own: `l' arbre`.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from .french import ADJECTIVES, NOUNS, VERBS, Adjective, Noun, Verb, elide, starts_with_vowel

Words = list[str]


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase in both languages, with what others agree with."""

    english: Words
    french: Words
    gender: str
    plural: bool


def _adjective(adjective: Adjective, noun: str, gender: str, plural: bool) -> str:
    """The French form; before a singular masculine noun that starts with a vowel it may have a form of its own."""
    form = adjective.form(gender, plural)
    liaison = adjective.before_vowel if gender == "m" and not plural and starts_with_vowel(noun) else ""
    return liaison or form


def _determiner(rng: random.Random, gender: str, plural: bool) -> tuple[str, str]:
    article = {"m": "le", "f": "la"}[gender]
    if plural:
        return rng.choice((("the", "les"), ("these", "ces"), ("some", "des")))
    indefinite = {"m": "un", "f": "une"}[gender]
    return rng.choice((("the", article), ("a", indefinite)))


def _of(noun: Noun, plural: bool) -> tuple[Words, Words]:
    """`of the noun`: de + le and de + les become one word, but never de + l'."""
    french = noun.french(plural)
    if plural:
        contracted = ["des"]
    elif starts_with_vowel(french):
        contracted = ["de", "la"]  # elided later, whatever the gender
    else:
        contracted = ["du"] if noun.gender == "m" else ["de", "la"]
    return ["of", "the", noun.english(plural)], [*contracted, french]


def _modifier(rng: random.Random, plural: bool, depth: int) -> tuple[Words, Words]:
    """A prepositional phrase or a relative clause about a noun."""
    kind = rng.choice(("of", "in", "subject_relative", "object_relative"))
    if kind == "of":
        return _of(rng.choice(NOUNS), rng.random() < 0.5)
    if kind == "in":
        english, french = rng.choice((("behind", "derrière"), ("near", "près de"), ("with", "avec")))
        inner = noun_phrase(rng, depth + 1, definite=False)
        return [english, *inner.english], _contract([*french.split(), *inner.french])
    if kind == "subject_relative":
        verb = rng.choice([verb for verb in VERBS if not verb.transitive])
        return ["that", verb.english(plural)], ["qui", verb.french(plural)]
    inner = noun_phrase(rng, depth + 1)
    verb = rng.choice([verb for verb in VERBS if verb.transitive])
    return ["that", *inner.english, verb.english(inner.plural)], ["que", *inner.french, verb.french(inner.plural)]


def _contract(words: Words) -> Words:
    """de le -> du, de les -> des, de des -> de; elision before a vowel comes first, so `de l' arbre` stays."""
    merged = {("de", "le"): ["du"], ("de", "les"): ["des"], ("de", "des"): ["de"], ("de", "de"): ["de"]}
    for i, (first, second) in enumerate(itertools.pairwise(words)):
        before_vowel = i + 2 < len(words) and starts_with_vowel(words[i + 2])
        if (first, second) in merged and not (second == "le" and before_vowel):
            return words[:i] + merged[first, second] + words[i + 2 :]
    return words


def noun_phrase(rng: random.Random, depth: int = 0, definite: bool = True) -> NounPhrase:
    """A noun phrase; `definite` False keeps to the plain articles."""
    noun, plural = rng.choice(NOUNS), rng.random() < 0.4
    english_d, french_d = _determiner(rng, noun.gender, plural)
    english, french = [noun.english(plural)], [noun.french(plural)]
    if rng.random() < 0.4:
        adjective = rng.choice(ADJECTIVES)
        form = _adjective(adjective, french[0], noun.gender, plural)
        english = [adjective.english, *english]
        french = [form, *french] if adjective.first else [*french, form]
        if english_d == "some" and adjective.first:
            french_d = "de"  # des becomes de before an adjective
    if english_d == "a" and english[0][0] in "aeiou":
        english_d = "an"
    if depth == 0 and definite and rng.random() < 0.35:
        more_english, more_french = _modifier(rng, plural, depth)
        english, french = english + more_english, french + more_french
    return NounPhrase([english_d, *english], [french_d, *french], noun.gender, plural)


PRONOUNS = {("m", False): ("him", "le"), ("f", False): ("her", "la"), ("m", True): ("them", "les")}


def _verb_phrase(rng: random.Random, subject: NounPhrase) -> tuple[Words, Words]:
    kind = rng.choice(("intransitive", "transitive", "pronoun", "negated", "adjective"))
    if kind == "adjective":
        adjective = rng.choice(ADJECTIVES)
        is_are, est = ("are", "sont") if subject.plural else ("is", "est")
        return [is_are, adjective.english], [est, adjective.form(subject.gender, subject.plural)]
    verb: Verb = rng.choice([verb for verb in VERBS if verb.transitive == (kind != "intransitive")])
    english, french = verb.english(subject.plural), verb.french(subject.plural)
    if kind == "intransitive":
        return [english], [french]
    if kind == "pronoun":
        them, les = PRONOUNS[rng.choice(list(PRONOUNS))]
        return [english, them], [les, french]
    what = noun_phrase(rng)
    if kind == "negated":
        return _negated(verb, subject.plural, what)
    return [english, *what.english], [french, *what.french]


def _negated(verb: Verb, plural: bool, what: NounPhrase) -> tuple[Words, Words]:
    """`does not see` / `ne voit pas`; after it, an indefinite article is `de`, and `some` is `any`."""
    english, french = what.english, what.french
    if french[0] in ("un", "une", "des", "de"):
        french = ["de", *french[1:]]
        english = ["any", *english[1:]] if what.plural else english
    do = "do" if plural else "does"
    return [do, "not", verb.base, *english], ["ne", verb.french(plural), "pas", *french]


def make(rng: random.Random) -> tuple[str, str]:
    """One pair: an English sentence and its French translation."""
    subject = noun_phrase(rng)
    english, french = _verb_phrase(rng, subject)
    return " ".join([*subject.english, *english, "."]), " ".join(elide([*subject.french, *french, "."]))
