"""What decides the contents of a store, beside the model and the samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...queries.methods import GREEDY, find_method

# samples in one shard: a file of its own for each sample's edges, fewer and larger files where samples are small
SHARD_SIZE = {"all": 1, "parameters": 8, "study": 20}
SHARD_SECONDS = 60.0  # after which a shard is closed with fewer: a dump that is killed loses no more than that


@dataclass(frozen=True)
class Settings:
    """What decides the contents of a store, beside the model and the samples."""

    detail: str = "parameters"
    dtype: str = "float32"
    keep: int = 2
    methods: tuple[str, ...] = (GREEDY,)
    statistics: bool = False
    parameter_vertices: bool = True

    def in_manifest(self) -> dict[str, Any]:
        """As the manifest stores it, and compares it when a dump is continued."""
        return {**asdict(self), "methods": sorted(self.methods)}

    @classmethod
    def of_manifest(cls, found: Mapping[str, Any]) -> Settings:
        """Those that a manifest has stored."""
        return cls(**{**found, "methods": tuple(found["methods"])})

    @property
    def needs_contribution_sums(self) -> bool:
        """Whether the sums of |contributions| are asked for, or needed by a method that splits mass."""
        return self.statistics or any(find_method(name).all_paths for name in self.methods)

    @property
    def stores_values(self) -> bool:
        """Whether vertices have their values: a study stores them for the gradients that contributions follow from."""
        return self.detail != "study" or self.needs_contribution_sums

    @property
    def stores_scores(self) -> bool:
        """Whether best edges have scores: those of other methods are contributions, which follow from other columns."""
        return any(find_method(name).logarithms for name in self.methods)

    @property
    def stores_parameter_vertices(self) -> bool:
        """Whether parameters are among the vertices."""
        return self.detail != "study" and self.parameter_vertices

    def counts_parameters(self, method: str) -> bool:
        """Whether parameters are counted where their edges lead, which is possible before paths are known."""
        return self.detail == "study" and not find_method(method).logarithms

    @property
    def needs_parameter_gradients(self) -> bool:
        """Whether the rows of a sample need the gradient of each parameter; a sweep that counts finds their sums."""
        return self.statistics or not all(self.counts_parameters(method) for method in self.methods)
