"""Families of models written in torch: conservation and gradients, three lengths in one process."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.recording.recorder import Recording

from .shown_models import Shown, check_attention_axes, show

WORDS, UNITS = 9, 8
LENGTHS = (4, 6, 3)


def _sentences(batch: int = 1) -> list[dict[str, Tensor]]:
    torch.manual_seed(1)
    numbers = [torch.randint(1, WORDS, (batch, n + 1)) for n in LENGTHS]  # 0 is padding for some
    return [{"input_ids": ids[:, :-1], "targets": ids[:, 1:]} for ids in numbers]


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Attention(nn.Module):
    """Causal self-attention with heads, written out."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(UNITS, UNITS) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        seen = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).tril()
        weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class TransformerLM(nn.Module):
    """Learned positions, two blocks, the embedding tied to the output."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.positions = nn.Embedding(WORDS, UNITS), nn.Embedding(8, UNITS)
        self.attentions = nn.ModuleList(Attention(2) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(UNITS) for _ in range(2))
        self.feed = nn.Sequential(nn.Linear(UNITS, 12), nn.GELU(), nn.Dropout(0.3), nn.Linear(12, UNITS))
        self.output = nn.Linear(UNITS, WORDS, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(input_ids) + self.positions(torch.arange(input_ids.shape[1]))
        for attention, norm in zip(self.attentions, self.norms, strict=True):
            x = x + attention(norm(x))
        return _cross_entropy(self.output(x + self.feed(x)), targets)


class Encoder(nn.Module):
    """nn.TransformerEncoder, causal, over an embedding with a padding word."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS, padding_idx=0)
        layer = nn.TransformerEncoderLayer(UNITS, 2, 12, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.output = nn.Linear(UNITS, WORDS)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(input_ids.shape[1], dtype=self.output.weight.dtype)
        x = self.encoder(self.embedding(input_ids), mask=mask, is_causal=True)
        return _cross_entropy(self.output(x), targets)


class Heads(nn.Module):
    """nn.MultiheadAttention, whose weights are asked for, and F.scaled_dot_product_attention."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS)
        self.attention = nn.MultiheadAttention(UNITS, 2, batch_first=True)
        self.output = nn.Linear(UNITS, WORDS)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        x = x + self.attention(x, x, x)[0]
        heads = x.unflatten(-1, (2, -1)).transpose(1, 2)
        x = x + F.scaled_dot_product_attention(heads, heads, heads, is_causal=True).transpose(1, 2).flatten(2)
        return _cross_entropy(self.output(F.layer_norm(x, (UNITS,))), targets)


class TextCNN(nn.Module):
    """Convolutions of two widths, normalized, pooled over time."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS)
        self.narrow = nn.Conv1d(UNITS, 6, 2, padding=1)
        self.wide = nn.Conv1d(UNITS, 6, 3, padding=2, groups=2, dilation=2)
        self.batch_norm, self.group_norm = nn.BatchNorm1d(6), nn.GroupNorm(2, 6)
        self.output = nn.Linear(12, WORDS)
        self.batch_norm.running_mean, self.batch_norm.running_var = torch.randn(6), torch.rand(6) + 0.5

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(input_ids).transpose(1, 2)
        pooled = [F.relu(self.batch_norm(self.narrow(x))).amax(2), F.silu(self.group_norm(self.wide(x))).mean(2)]
        return F.cross_entropy(self.output(torch.cat(pooled, 1)), targets[:, 0])


class Translator(nn.Module):
    """A GRU encoder, and a GRUCell decoder with additive attention in a Python loop."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS)
        self.encoder = nn.GRU(UNITS, UNITS, batch_first=True)
        self.query, self.key = nn.Linear(UNITS, UNITS, bias=False), nn.Linear(UNITS, UNITS)
        self.energy = nn.Linear(UNITS, 1, bias=False)
        self.decoder = nn.GRUCell(2 * UNITS, UNITS)
        self.output = nn.Linear(UNITS, WORDS)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        states, last = self.encoder(self.embedding(input_ids))
        h, loss = last[0], torch.zeros(())
        for t in range(targets.shape[1] - 1):
            energy = self.energy(torch.tanh(self.query(h).unsqueeze(1) + self.key(states))).squeeze(-1)
            context = torch.bmm(energy.softmax(1).unsqueeze(1), states).squeeze(1)
            h = self.decoder(torch.cat([self.embedding(targets[:, t]), context], 1), h)
            loss = loss + F.cross_entropy(self.output(h), targets[:, t + 1])
        return loss


class Mixture(nn.Module):
    """Operators that language models use here and there."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS)
        self.first, self.second = nn.Linear(UNITS, UNITS), nn.Bilinear(UNITS, UNITS, UNITS)
        self.norm = nn.RMSNorm(UNITS)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        y = torch.einsum("bij,bkj->bik", self.first(x), x).cumsum(1).logsumexp(-1)
        z = self.norm(self.second(x, x.flip(1))) * F.normalize(x, dim=-1)
        best = z.topk(2).values.sum() + z.std() + torch.linalg.norm(F.glu(F.celu(x)))
        return y.mean() + best + z.gather(1, targets.clamp(max=0)[..., None].expand_as(z)).prod(-1).sum()


FAMILIES: dict[str, tuple[Callable[[], nn.Module], set[str], int]] = {
    "transformer_lm": (TransformerLM, {"scores", "weights", "context", "mean", "variance", "scale"}, 1),
    "nn.TransformerEncoder": (Encoder, {"scores", "weights", "context", "mean", "variance", "scale"}, 1),
    "nn.MultiheadAttention": (Heads, {"scores", "weights", "context"}, 1),
    "text_cnn": (TextCNN, {"mean", "variance", "scale"}, 1),
    "translator": (Translator, {"scores", "weights", "context", "reset_gate", "update_gate"}, 3),
    "mixture": (Mixture, set(), 1),
}


def _build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return FAMILIES[name][0]()


@cache
def _shown(name: str) -> Shown:
    return show(_build(name), _sentences(), torch.float64, LENGTHS)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    _, roles, exports = FAMILIES[name]
    assert roles <= _shown(name).roles
    assert _shown(name).n_exports == exports


@pytest.mark.slow
def test_float32() -> None:
    show(_build("transformer_lm"), _sentences(), torch.float32, LENGTHS)


def _head(recording: Recording, role: str, op_type: str) -> list[tuple[str, tuple[int, ...], list[str | None]]]:
    calls = [c for c in recording.tape.calls if c.label.role == role and c.primitive.name == op_type]
    tensors = [recording.tape.tensors[c.output.tensor] for c in calls if c.output.tensor is not None]
    return [(c.label.module, tuple(t.value.shape), t.axis_names) for c, t in zip(calls, tensors, strict=True)]


@pytest.mark.slow
def test_heads_are_found() -> None:
    recording = _shown("transformer_lm").recordings[0]
    check_attention_axes(recording)
    modules = ["attentions.0", "attentions.1"]
    square = (1, 2, LENGTHS[0], LENGTHS[0])
    named = [None, "head", "step", "key"]
    assert _head(recording, "scores", "MatMul") == [(module, square, named) for module in modules]
    assert _head(recording, "weights", "Div") == [(module, square, named) for module in modules]
    shape, axes = (1, 2, LENGTHS[0], UNITS // 2), [None, "head", "step", None]
    assert _head(recording, "context", "MatMul") == [(module, shape, axes) for module in modules]


@pytest.mark.slow
def test_heads_of_multihead_attention() -> None:
    """Its weights are head x query x key, without a batch axis of their own."""
    recording = _shown("nn.MultiheadAttention").recordings[0]
    check_attention_axes(recording)
    found = {shape for module, shape, _ in _head(recording, "scores", "MatMul") if module == "attention"}
    assert found <= {(2, LENGTHS[0], LENGTHS[0]), (1, 2, LENGTHS[0], LENGTHS[0])}
    assert found


def test_an_output_softmax_is_no_attention() -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(UNITS, WORDS)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).softmax(-1).square().sum()

    assert not show(Classifier(), [{"x": torch.randn(1, 3, UNITS)}]).roles & {"scores", "weights", "context"}
