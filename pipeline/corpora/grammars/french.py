"""The lexicon of the translation grammar, and what French does at word boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Noun:
    """English and French singulars, the French gender (`m` or `f`), and plurals that are not made with -s."""

    singular: str
    nom: str
    gender: str
    plural: str = ""
    pluriel: str = ""

    def english(self, plural: bool) -> str:
        return (self.plural or f"{self.singular}s") if plural else self.singular

    def french(self, plural: bool) -> str:
        return (self.pluriel or f"{self.nom}s") if plural else self.nom


@dataclass(frozen=True)
class Adjective:
    """An English adjective and its four French forms.

    first:        it comes before the noun
    before_vowel: the masculine singular before a vowel, when that is another form (`bel`)
    """

    english: str
    masculine: str
    feminine: str
    masculine_plural: str = ""
    first: bool = False
    before_vowel: str = ""

    def form(self, gender: str, plural: bool) -> str:
        """The form that agrees with a noun."""
        if gender == "f":
            return f"{self.feminine}s" if plural else self.feminine
        return (self.masculine_plural or f"{self.masculine}s") if plural else self.masculine


@dataclass(frozen=True)
class Verb:
    """An English verb and its French third persons."""

    base: str
    singulier: str
    pluriel: str
    transitive: bool

    def english(self, plural: bool) -> str:
        return self.base if plural else f"{self.base}s"

    def french(self, plural: bool) -> str:
        return self.pluriel if plural else self.singulier


NOUNS = (
    Noun("cat", "chat", "m"), Noun("dog", "chien", "m"), Noun("boy", "garçon", "m"), Noun("king", "roi", "m"),
    Noun("garden", "jardin", "m"), Noun("bird", "oiseau", "m", pluriel="oiseaux"), Noun("tree", "arbre", "m"),
    Noun("friend", "ami", "m"), Noun("man", "homme", "m", plural="men"), Noun("girl", "fille", "f"),
    Noun("woman", "femme", "f", plural="women"), Noun("house", "maison", "f"), Noun("queen", "reine", "f"),
    Noun("door", "porte", "f"), Noun("school", "école", "f"), Noun("star", "étoile", "f"),
    Noun("actress", "actrice", "f", plural="actresses"),
)  # fmt: skip

ADJECTIVES = (
    Adjective("small", "petit", "petite", first=True),
    Adjective("big", "grand", "grande", first=True),
    Adjective("young", "jeune", "jeune", first=True),
    Adjective("old", "vieux", "vieille", "vieux", first=True, before_vowel="vieil"),
    Adjective("beautiful", "beau", "belle", "beaux", first=True, before_vowel="bel"),
    Adjective("calm", "calme", "calme"),
    Adjective("gentle", "doux", "douce", "doux"),
    Adjective("intelligent", "intelligent", "intelligente"),
    Adjective("tired", "fatigué", "fatiguée"),
    Adjective("happy", "heureux", "heureuse", "heureux"),
)

VERBS = (
    Verb("sleep", "dort", "dorment", transitive=False),
    Verb("laugh", "rit", "rient", transitive=False),
    Verb("arrive", "arrive", "arrivent", transitive=False),
    Verb("fall", "tombe", "tombent", transitive=False),
    Verb("see", "voit", "voient", transitive=True),
    Verb("love", "aime", "aiment", transitive=True),
    Verb("hear", "entend", "entendent", transitive=True),
    Verb("seek", "cherche", "cherchent", transitive=True),
    Verb("admire", "admire", "admirent", transitive=True),
)

ELIDED = {"le": "l'", "la": "l'", "de": "d'", "ne": "n'", "que": "qu'"}
_VOWELS = frozenset("aàâeéèêiîoôuûyhœ")  # every h of the lexicon is mute


def starts_with_vowel(word: str) -> bool:
    """Whether words before `word` are elided."""
    return word[:1] in _VOWELS


def elide(words: Sequence[str]) -> list[str]:
    """The words with le, la, de, ne and que elided where the next word starts with a vowel."""
    following = [*words[1:], ""]
    return [
        ELIDED[word] if word in ELIDED and starts_with_vowel(after) else word
        for word, after in zip(words, following, strict=True)
    ]
