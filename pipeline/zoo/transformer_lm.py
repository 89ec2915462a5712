"""`transformer_lm`: the decoder of a transformer (Vaswani et al. 2017) without cross-attention, as a language model."""

from __future__ import annotations

from torch import Tensor, nn

from . import Family
from ._language_model import LANGUAGE_MODEL, LanguageModel
from ._transformer import (
    Positions,
    TransformerHyperparameters,
    WordEmbedding,
    causal,
    final_norm,
    layers,
    output_layer,
    through,
)


class TransformerLanguageModel(LanguageModel):
    """The submodules are `embedding`, `positions`, `layers.N`, `norm` (with `norm` pre) and `output`.

    Components of layer N: `self_attention.query`, `key`, `value`, `scores`, `weights`, `context`, `output`;
    `feed_forward.inner`, `activation`, `outer`; and for both blocks `..._norm` and `..._residual`.
    """

    def __init__(self, vocabulary_size: int, sizes: TransformerHyperparameters) -> None:
        super().__init__()
        self.embedding = WordEmbedding(vocabulary_size, sizes.hidden_size)
        self.positions = Positions(sizes)
        self.layers = layers(sizes)
        self.norm = final_norm(sizes)
        self.output = output_layer(sizes, self.embedding)
        self.dropout = nn.Dropout(sizes.dropout)

    def logits(self, input_ids: Tensor) -> Tensor:
        """See LanguageModel."""
        stream = self.dropout(self.positions(self.embedding(input_ids)))
        stream = through(self.layers, stream, causal(input_ids.shape[1]))
        scores: Tensor = self.output(self.norm(stream))
        return scores


FAMILY = Family(TransformerHyperparameters, TransformerLanguageModel, LANGUAGE_MODEL)
