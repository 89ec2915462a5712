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

    logarithms: whether edges are ranked by base-2 logarithms, as of products over the whole path, not by contributions
    all_paths:  whether mass splits over all edges of a vertex; else there is one path, along the best edges
    score:      SQL of what a row of `best_edges` is ranked by, null where it carries nothing; in the files, which
                hold no number twice, `score` is null where it follows from the other columns
    ratio:      SQL of runner-up / best, of the scores `runner_up` and `best`, from 0 to 1
    weight:     SQL of an edge's factor in the product that `score` is the logarithm of, from its `derivative`, its
                `contribution` and the `contribution_l1` of its source, null where the dtype cannot hold it; None for a
                method whose score is no such product
    k_best:     which k best paths its best edges lead along: by BY_PRODUCT or by BY_SHARE; None: neither
    """

    name: str
    summary: str
    logarithms: bool
    all_paths: bool
    score: str
    ratio: str
    weight: str | None
    k_best: str | None = None

    @property
    def nothing(self) -> float:
        """The score of an edge that carries nothing. A vertex whose best edge has it is dead.

        An edge carries nothing where its contribution, in the store's dtype, is 0; by logarithms of derivatives alone,
        which never vanish by rounding, where their product is 0.
        """
        return -inf if self.logarithms else 0.0


BY_PRODUCT = "product"  # k best paths by the product of their edges' derivatives
BY_SHARE = "share"  # or by that of their edges' shares of the gradient
RANKINGS = (BY_PRODUCT, BY_SHARE)

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
            "the largest |product of derivatives|, which is the largest single term of the gradient",
            logarithms=True,
            all_paths=False,
            score="score",
            ratio=_LOGARITHM,
            weight="case when abs(derivative) > 1e-30 then derivative end",
            k_best=BY_PRODUCT,
        ),
        Method(
            "soft",
            "all paths, mass 1 split in proportion to |contribution|, so that every count is an expectation",
            logarithms=True,
            all_paths=True,
            score="score",
            ratio=_LOGARITHM,
            weight="case when abs(contribution) > 1e-30 then contribution / contribution_l1 end",
            k_best=BY_SHARE,
        ),
    )
}


def find_method(name: str) -> Method:
    """The method called `name`; StoreError, naming those there are, when there is none."""
    if name not in METHODS:
        raise StoreError(f"there is no method {name!r}; the methods are {', '.join(METHODS)}.")
    return METHODS[name]


def one_path_methods() -> list[str]:
    """The names of the methods that choose one path for each parameter."""
    return [method.name for method in METHODS.values() if not method.all_paths]


def method_of_ranking(by: str) -> str:
    """The method whose best edges the k best paths by `by`, one of RANKINGS, run along."""
    return next(method.name for method in METHODS.values() if method.k_best == by)
