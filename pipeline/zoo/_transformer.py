"""Transformers (Vaswani et al. 2017) out of parts that are submodules each, so that every part is a component.

B sentences, T positions of the stream, S positions attended to, D units, h heads of D/h units.
The scores, weights and contexts of attention keep the heads on axis 1; queries, keys and values hold head i in their
units i*D/h to (i+1)*D/h.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ._hyperparameters import Hyperparameters, choice, count, share, switch

LEARNED, PRE = "learned", "pre"


@dataclass(frozen=True)
class TransformerHyperparameters(Hyperparameters):
    """Sizes and kind of a transformer. Raises ValueError when the heads do not share the units evenly."""

    hidden_size: int = count(64, "units of the residual stream")
    heads: int = count(4, "attention heads of a layer")
    layers: int = count(2, "layers; of encoder and decoder each")
    feed_forward_size: int = count(256, "units in the middle of a feed-forward block")
    dropout: float = share(0.0, "units dropped in training: of embeddings and of what is added to the stream")
    norm: str = choice("pre", "post", text="layer norm before each block, or after it as in the paper")
    positions: str = choice("sinusoidal", "learned", text="what tells positions apart")
    longest: int = count(256, "positions there are")
    tied: bool = switch(False, "one matrix for the embedding of target words and for the output")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size is {self.hidden_size}, which {self.heads} heads do not share evenly.")


class WordEmbedding(nn.Embedding):
    """Embeddings times the square root of their size; drawn so that the products have variance 1."""

    def __init__(self, vocabulary_size: int, size: int) -> None:
        super().__init__(vocabulary_size, size)
        nn.init.normal_(self.weight, std=size**-0.5)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.Embedding gives it
        """B x T x D for B x T words."""
        return super().forward(input) * math.sqrt(self.embedding_dim)


def sinusoids(longest: int, size: int) -> Tensor:
    """longest x D: sine in the even units, cosine in the odd ones, of wavelengths from 2 pi to 10000 * 2 pi."""
    angles = torch.arange(longest)[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
    return torch.stack((angles.sin(), angles.cos()), dim=2).flatten(1)[:, :size]


class Positions(nn.Module):
    """Adds to every word what tells its position: a learned table, or a sinusoid, which is no parameter."""

    def __init__(self, sizes: TransformerHyperparameters) -> None:
        super().__init__()
        self._longest = sizes.longest
        if sizes.positions == LEARNED:
            self.weight = nn.Parameter(0.1 * torch.randn(sizes.longest, sizes.hidden_size))
        else:
            self.register_buffer("weight", sinusoids(sizes.longest, sizes.hidden_size), persistent=False)

    def forward(self, embedded: Tensor) -> Tensor:
        """B x T x D. Raises ValueError for more positions than there are."""
        n = embedded.shape[1]
        if n > self._longest:
            raise ValueError(f"a sentence takes {n} positions; the model has {self._longest} (`longest`).")
        return embedded + self.weight[:n]


class Scores(nn.Module):
    """How well every query fits every key: B x h x T x S."""

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """query: B x h x T x D/h, key: B x h x S x D/h."""
        return query @ key.transpose(2, 3) / math.sqrt(query.shape[3])


class Weights(nn.Module):
    """The softmax of the scores over the positions that may be attended to."""

    def forward(self, scores: Tensor, allowed: Tensor | None) -> Tensor:
        """allowed: bool, broadcast to the B x h x T x S scores; None allows all."""
        if allowed is not None:
            scores = torch.where(allowed, scores, -math.inf)
        return scores.softmax(dim=3)


class Context(nn.Module):
    """The mean of the values by the weights: B x h x T x D/h."""

    def forward(self, weights: Tensor, value: Tensor) -> Tensor:
        """weights: B x h x T x S, value: B x h x S x D/h."""
        return weights @ value


class Attention(nn.Module):
    """Multi-head scaled dot-product attention; submodules query, key, value, scores, weights, context, output."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(size, size) for _ in range(3))
        self.scores, self.weights, self.context = Scores(), Weights(), Context()
        self.output = nn.Linear(size, size)
        self._heads = heads

    def _by_head(self, units: Tensor) -> Tensor:
        n, size = units.shape[1:]
        return units.reshape(-1, n, self._heads, size // self._heads).transpose(1, 2)

    def forward(self, stream: Tensor, memory: Tensor, allowed: Tensor | None) -> Tensor:
        """B x T x D, from the stream (B x T x D) that asks and the memory (B x S x D) that is asked."""
        query, key = self._by_head(self.query(stream)), self._by_head(self.key(memory))
        weights = self.weights(self.scores(query, key), allowed)
        context = self.context(weights, self._by_head(self.value(memory)))
        update: Tensor = self.output(context.transpose(1, 2).flatten(2))
        return update


class FeedForward(nn.Module):
    """Two linear layers with a ReLU between, at every position alike."""

    def __init__(self, size: int, inner_size: int) -> None:
        super().__init__()
        self.inner = nn.Linear(size, inner_size)
        self.activation = nn.ReLU()
        self.outer = nn.Linear(inner_size, size)

    def forward(self, stream: Tensor) -> Tensor:
        """B x T x D."""
        update: Tensor = self.outer(self.activation(self.inner(stream)))
        return update


class Residual(nn.Module):
    """The stream with a block's update added."""

    def forward(self, stream: Tensor, update: Tensor) -> Tensor:
        """B x T x D."""
        return stream + update


class Layer(nn.Module):
    """Self-attention, cross-attention if wanted, and feed-forward, each with a norm and a residual of its own."""

    def __init__(self, sizes: TransformerHyperparameters, cross_attention: bool = False) -> None:
        super().__init__()
        size = sizes.hidden_size
        self._pre = sizes.norm == PRE
        self.dropout = nn.Dropout(sizes.dropout)
        self.self_attention = Attention(size, sizes.heads)
        self.self_attention_norm, self.self_attention_residual = nn.LayerNorm(size), Residual()
        if cross_attention:
            self.cross_attention = Attention(size, sizes.heads)
            self.cross_attention_norm, self.cross_attention_residual = nn.LayerNorm(size), Residual()
        self.feed_forward = FeedForward(size, sizes.feed_forward_size)
        self.feed_forward_norm, self.feed_forward_residual = nn.LayerNorm(size), Residual()

    def forward(
        self,
        stream: Tensor,
        allowed: Tensor | None,
        memory: Tensor | None = None,
        memory_allowed: Tensor | None = None,
    ) -> Tensor:
        """The new stream, B x T x D; with cross-attention, `memory` is B x S x D."""
        asking = self._before(stream, self.self_attention_norm)
        update = self.self_attention(asking, asking, allowed)
        stream = self._after(stream, update, self.self_attention_residual, self.self_attention_norm)
        if memory is not None:
            asking = self._before(stream, self.cross_attention_norm)
            update = self.cross_attention(asking, memory, memory_allowed)
            stream = self._after(stream, update, self.cross_attention_residual, self.cross_attention_norm)
        update = self.feed_forward(self._before(stream, self.feed_forward_norm))
        return self._after(stream, update, self.feed_forward_residual, self.feed_forward_norm)

    def _before(self, stream: Tensor, norm: nn.Module) -> Tensor:
        return norm(stream) if self._pre else stream

    def _after(self, stream: Tensor, update: Tensor, residual: nn.Module, norm: nn.Module) -> Tensor:
        stream = residual(stream, self.dropout(update))
        return stream if self._pre else norm(stream)


def layers(sizes: TransformerHyperparameters, cross_attention: bool = False) -> nn.ModuleList:
    """The layers of one stack."""
    return nn.ModuleList([Layer(sizes, cross_attention) for _ in range(sizes.layers)])


def final_norm(sizes: TransformerHyperparameters) -> nn.Module:
    """What a stack ends with: a norm, unless every block has ended with one."""
    return nn.LayerNorm(sizes.hidden_size) if sizes.norm == PRE else nn.Identity()


def through(
    stack: Iterable[nn.Module],
    stream: Tensor,
    allowed: Tensor | None,
    memory: Tensor | None = None,
    memory_allowed: Tensor | None = None,
) -> Tensor:
    """The stream after all layers."""
    for layer in stack:
        stream = layer(stream, allowed, memory, memory_allowed)
    return stream


def causal(n: int) -> Tensor:
    """n x n, bool: a position may attend to itself and to those before it."""
    positions = torch.arange(n)
    return positions[None, :] <= positions[:, None]


def output_layer(sizes: TransformerHyperparameters, embedding: nn.Embedding) -> nn.Linear:
    """From the stream to the scores of the words, with the embedding's own matrix if tied."""
    output = nn.Linear(sizes.hidden_size, embedding.num_embeddings)
    if sizes.tied:
        output.weight = embedding.weight
    return output
