"""`transformer_nmt`: the transformer of Vaswani et al. 2017, which translates."""

from __future__ import annotations

from torch import Tensor, nn

from . import Family
from ._targets import prediction_loss, words_or_first
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
from ._translation import TRANSLATION_TASK


class Stack(nn.Module):
    """Embedding, positions, layers and final norm of the encoder or of the decoder."""

    def __init__(self, vocabulary_size: int, sizes: TransformerHyperparameters, cross_attention: bool) -> None:
        super().__init__()
        self.embedding = WordEmbedding(vocabulary_size, sizes.hidden_size)
        self.positions = Positions(sizes)
        self.layers = layers(sizes, cross_attention)
        self.norm = final_norm(sizes)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(
        self, ids: Tensor, allowed: Tensor, memory: Tensor | None = None, memory_allowed: Tensor | None = None
    ) -> Tensor:
        """B x T x D."""
        stream = self.dropout(self.positions(self.embedding(ids)))
        normed: Tensor = self.norm(through(self.layers, stream, allowed, memory, memory_allowed))
        return normed


class TransformerTranslation(nn.Module):
    """The submodules are `encoder` and `decoder`, each as in a `transformer_lm`, and `output`.

    A layer of the decoder has `cross_attention` beside `self_attention`.
    """

    def __init__(self, source_size: int, target_size: int, sizes: TransformerHyperparameters) -> None:
        super().__init__()
        self.encoder = Stack(source_size, sizes, cross_attention=False)
        self.decoder = Stack(target_size, sizes, cross_attention=True)
        self.output = output_layer(sizes, self.decoder.embedding)

    def forward(self, source_ids: Tensor, input_ids: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy, a scalar in nats, of `targets` after `input_ids`, given `source_ids`.

        source_ids: B x S, int64, padding -100; input_ids, targets: B x T, int64, padding -100 in `targets`
        """
        ids, are_words = words_or_first(source_ids)
        readable = are_words[:, None, None, :]
        memory = self.encoder(ids, readable)
        stream = self.decoder(input_ids, causal(input_ids.shape[1]), memory, readable)
        return prediction_loss(self.output(stream), targets)


FAMILY = Family(TransformerHyperparameters, TransformerTranslation, TRANSLATION_TASK)
