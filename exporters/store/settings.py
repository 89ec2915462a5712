"""What decides the contents of a store, beside the model and the samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# samples in one shard: a file of its own for each sample's edges, fewer and larger files where samples are small
SHARD_SIZE = {"all": 1, "parameters": 8, "study": 32}


@dataclass(frozen=True)
class Settings:
    """What decides the contents of a store, beside the model and the samples."""

    detail: str = "parameters"
    dtype: str = "float32"
    keep: int = 2
    methods: tuple[str, ...] = ("greedy",)
    statistics: bool = False
    parameter_vertices: bool = True

    def in_manifest(self) -> dict[str, Any]:
        """As the manifest stores it, and compares it when a dump is continued."""
        return {**asdict(self), "methods": sorted(self.methods), "shard_size": SHARD_SIZE[self.detail]}

    @property
    def stores_vertices(self) -> bool:
        """Whether there are rows of vertices: a study needs them only for what was asked for beside the paths."""
        return self.detail != "study" or self.statistics or "soft" in self.methods

    @property
    def needs_parameter_gradients(self) -> bool:
        """Whether the rows of a sample need the gradient of each parameter; the sweep of a study finds their sums."""
        return self.detail != "study" or self.methods != ("greedy",) or self.statistics
