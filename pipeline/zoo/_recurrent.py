"""Language models around one of torch's recurrent layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ._hyperparameters import Hyperparameters, count, share
from ._language_model import LanguageModel


@dataclass(frozen=True)
class RecurrentHyperparameters(Hyperparameters):
    """Sizes of a recurrent language model. Raises ValueError for a size below 1 or a dropout outside [0, 1)."""

    embedding_size: int = count(64, "units of a word's embedding")
    hidden_size: int = count(64, "units of every layer")
    layers: int = count(1, "recurrent layers, one on the other")
    dropout: float = share(0.0, "units dropped in training: after the embedding, between layers, before the decoder")

    @property
    def dropout_between_layers(self) -> float:
        """What torch's recurrent layers take as `dropout`: they warn about one that has no layers to go between."""
        return self.dropout if self.layers > 1 else 0.0


class RecurrentLanguageModel(LanguageModel):
    """Embedding, one of torch's recurrent layers over time, decoder to the vocabulary."""

    def __init__(
        self, vocabulary_size: int, sizes: RecurrentHyperparameters, name: str, layer: Callable[..., nn.Module]
    ) -> None:
        """name: of the submodule that is the recurrent layer, and so of its parameters and components."""
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, sizes.embedding_size)
        self.name = name
        self.add_module(
            name,
            layer(
                sizes.embedding_size,
                sizes.hidden_size,
                sizes.layers,
                batch_first=True,
                dropout=sizes.dropout_between_layers,
            ),
        )
        self.decoder = nn.Linear(sizes.hidden_size, vocabulary_size)
        self.dropout = nn.Dropout(sizes.dropout)

    def logits(self, input_ids: Tensor) -> Tensor:
        """See LanguageModel."""
        hidden, _ = self.get_submodule(self.name)(self.dropout(self.embedding(input_ids)))
        scores: Tensor = self.decoder(self.dropout(hidden))
        return scores
