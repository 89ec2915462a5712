"""The hyperparameters that recurrent language models have in common."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RecurrentHyperparameters:
    """Sizes of a recurrent language model.

    dropout: share of units dropped in training, after the embedding, between layers, and before the decoder
    Raises ValueError for a size below 1 or a dropout outside [0, 1).
    """

    embedding_size: int = 64
    hidden_size: int = 64
    layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and below 1.")

    @property
    def dropout_between_layers(self) -> float:
        """What torch's recurrent layers take as `dropout`: they warn about one that has no layers to go between."""
        return self.dropout if self.layers > 1 else 0.0
