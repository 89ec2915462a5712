"""The methods: how the path of a parameter is chosen. The one table that makers, walkers and SQL read.

To add one: an entry here, and its score in `exporters/paths/scores.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .errors import StoreError


@dataclass(frozen=True)
class Method:
    """One way from a parameter to the loss.

    logarithms: whether edges are ranked by base-2 logarithms, of products over the whole path, not by contributions
    all_paths:  whether mass splits over all edges of a vertex; else there is one path, along the best edges
    score:      SQL of what a row of `best_edges` is ranked by, null where it carries nothing; in the files, which
                hold no number twice, `score` is null where it follows from the other columns
    ratio:      SQL of runner-up / best, of the scores `runner_up` and `best`, from 0 to 1
    weight:     SQL of an edge's factor in the product that `score` is the logarithm of, from an edge `e` and the
                vertex `v` that it leaves; null for a method whose score is of one edge alone
    """

    name: str
    summary: str
    logarithms: bool
    all_paths: bool
    score: str
    ratio: str
    weight: str | None

    @property
    def nothing(self) -> float:
        """The score of an edge that carries nothing. A vertex whose best edge has it is dead."""
        return -inf if self.logarithms else 0.0


_LOGARITHM = "pow(2, runner_up - best)"

GREEDY = "greedy"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            GREEDY,
            "the largest |contribution| at every vertex",
            logarithms=False,
            all_paths=False,
            score="nullif(contribution, 0)",
            ratio="abs(runner_up) / abs(best)",
            weight=None,
        ),
        Method(
            "product",
            "the largest |product of derivatives|: the largest single term of the gradient",
            logarithms=True,
            all_paths=False,
            score="score",
            ratio=_LOGARITHM,
            weight="e.derivative",
        ),
        Method(
            "soft",
            "all paths: mass 1 splits in proportion to |contribution|; every count is an expectation",
            logarithms=True,
            all_paths=True,
            score="score",
            ratio=_LOGARITHM,
            weight="e.contribution / v.contribution_l1",
        ),
    )
}


def find_method(name: str) -> Method:
    """The method called `name`; StoreError, naming those there are, when there is none."""
    if name not in METHODS:
        raise StoreError(f"there is no method {name!r}; the methods are {', '.join(METHODS)}.")
    return METHODS[name]
