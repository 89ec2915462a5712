"""`attention_nmt`: an encoder and a decoder with additive attention (Bahdanau et al. 2015), which translate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from . import Family
from ._cells import GatedGRUCell, GatedLSTMCell, State
from ._hyperparameters import Hyperparameters, choice, count, share, switch
from ._targets import prediction_loss, words_or_first
from ._translation import TRANSLATION_TASK


@dataclass(frozen=True)
class AttentionHyperparameters(Hyperparameters):
    """Sizes and kind of an encoder and decoder with attention."""

    embedding_size: int = count(64, "units of a word's embedding")
    hidden_size: int = count(64, "units of the decoder, and of each direction of the encoder")
    attention_size: int = count(64, "units of queries and keys")
    cell: str = choice("gru", "lstm", text="what encoder and decoder are made of")
    bidirectional: bool = switch(True, "the encoder reads the source from both ends")
    dropout: float = share(0.0, "units dropped in training: of embeddings, and before the output")


class Encoder(nn.Module):
    """Embedding and a recurrent layer over the source."""

    def __init__(self, vocabulary_size: int, sizes: AttentionHyperparameters) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, sizes.embedding_size)
        layer = {"gru": nn.GRU, "lstm": nn.LSTM}[sizes.cell]
        self.layer = layer(sizes.embedding_size, sizes.hidden_size, batch_first=True, bidirectional=sizes.bidirectional)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, ids: Tensor, are_words: Tensor) -> tuple[Tensor, Tensor]:
        """The annotation of every word, B x S x A, and where the last direction ended, B x H."""
        embedded = self.dropout(self.embedding(ids))
        if ids.shape[0] == 1 or torch.compiler.is_exporting():  # nothing is padded; ONNX has no packed sequences
            annotations, final = self.layer(embedded)
        else:
            lengths = are_words.sum(dim=1)
            packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
            outputs, final = self.layer(packed)
            annotations, _ = pad_packed_sequence(outputs, batch_first=True, total_length=ids.shape[1])
        last = final[0] if isinstance(final, tuple) else final
        return annotations, last[-1]


class Energy(nn.Module):
    """v . tanh(q + k): how well the decoder's state fits every source word."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size).uniform_(-(size**-0.5), size**-0.5))

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """B x S, from B x A and B x S x A."""
        return torch.tanh(query[:, None] + keys) @ self.weight


class Weights(nn.Module):
    """The softmax of the energies over the words of the source."""

    def forward(self, energies: Tensor, are_words: Tensor) -> Tensor:
        """B x S."""
        return torch.where(are_words, energies, -math.inf).softmax(dim=1)


class Context(nn.Module):
    """The mean of the annotations by the weights."""

    def forward(self, weights: Tensor, annotations: Tensor) -> Tensor:
        """B x A, from B x S and B x S x A."""
        return (weights[:, None] @ annotations).squeeze(1)


class AdditiveAttention(nn.Module):
    """The submodules are `query`, `key`, `energy`, `weights` and `context`."""

    def __init__(self, annotation_size: int, sizes: AttentionHyperparameters) -> None:
        super().__init__()
        self.query = nn.Linear(sizes.hidden_size, sizes.attention_size)
        self.key = nn.Linear(annotation_size, sizes.attention_size, bias=False)
        self.energy, self.weights, self.context = Energy(sizes.attention_size), Weights(), Context()

    def forward(self, state: Tensor, keys: Tensor, annotations: Tensor, are_words: Tensor) -> Tensor:
        """The context of a decoder in `state` (B x H), given `keys`, the annotations through `key`."""
        weights = self.weights(self.energy(self.query(state), keys), are_words)
        context: Tensor = self.context(weights, annotations)
        return context


class AttentionTranslation(nn.Module):
    """The submodules are `encoder`, `bridge`, `embedding` of target words, `attention`, `decoder` and `output`.

    `decoder` has the gates of its cell as submodules; `bridge` makes its first state.
    """

    def __init__(self, source_size: int, target_size: int, sizes: AttentionHyperparameters) -> None:
        super().__init__()
        annotation_size = sizes.hidden_size * (2 if sizes.bidirectional else 1)
        self.encoder = Encoder(source_size, sizes)
        self.bridge = nn.Sequential(nn.Linear(sizes.hidden_size, sizes.hidden_size), nn.Tanh())
        self.embedding = nn.Embedding(target_size, sizes.embedding_size)
        self.attention = AdditiveAttention(annotation_size, sizes)
        cell = {"gru": GatedGRUCell, "lstm": GatedLSTMCell}[sizes.cell]
        self.decoder = cell(sizes.embedding_size + annotation_size, sizes.hidden_size)
        self.output = nn.Linear(sizes.hidden_size + annotation_size, target_size)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, source_ids: Tensor, input_ids: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy, a scalar in nats, of `targets` after `input_ids`, given `source_ids`.

        source_ids: B x S, int64, padding -100; input_ids, targets: B x T, int64, padding -100 in `targets`
        """
        ids, are_words = words_or_first(source_ids)
        annotations, ended = self.encoder(ids, are_words)
        keys = self.attention.key(annotations)
        embedded = self.dropout(self.embedding(input_ids))
        state = self._first_state(self.bridge(ended))
        read = []
        for t in range(input_ids.shape[1]):
            context = self.attention(state[0], keys, annotations, are_words)
            state = self.decoder(torch.cat((embedded[:, t], context), dim=1), state)
            read.append(torch.cat((state[0], context), dim=1))
        return prediction_loss(self.output(self.dropout(torch.stack(read, dim=1))), targets)

    def _first_state(self, h: Tensor) -> State:
        return (h, torch.zeros_like(h)) if isinstance(self.decoder, GatedLSTMCell) else (h,)


FAMILY = Family(AttentionHyperparameters, AttentionTranslation, TRANSLATION_TASK)
