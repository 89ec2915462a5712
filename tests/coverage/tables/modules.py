"""Modules with parameters of their own, and ways to hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..trying import UNITS, Case


class _Mapped(nn.Module):
    """A module between functions that bring x into its shape and pick its output."""

    def __init__(self, module: nn.Module, call: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.call = module, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.module, x)


def _mapped(make: Callable[[], nn.Module], call: Callable[[Any, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: _Mapped(make(), call)


def _image(x: Tensor) -> Tensor:
    """1 x 2 x T x 4."""
    return x.unflatten(2, (2, 4)).transpose(1, 2)


def _labels(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1]) * 3 % 8


def _causal(x: Tensor) -> Tensor:
    return nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)


MODULES: dict[str, Callable[[], nn.Module]] = {
    "nn.Linear": lambda: nn.Linear(UNITS, 3),
    "nn.Bilinear": _mapped(lambda: nn.Bilinear(UNITS, UNITS, 3), lambda m, x: m(x, x.exp())),
    "nn.Identity": nn.Identity,
    "nn.Flatten": nn.Flatten,
    "nn.Unflatten": lambda: nn.Unflatten(2, (2, 4)),
    "nn.Embedding": _mapped(lambda: nn.Embedding(9, UNITS), lambda m, x: x * m(_labels(x))),
    "nn.Embedding(padding_idx)": _mapped(lambda: nn.Embedding(9, UNITS, padding_idx=3), lambda m, x: x * m(_labels(x))),
    "nn.Embedding(sparse)": _mapped(lambda: nn.Embedding(9, UNITS, sparse=True), lambda m, x: x * m(_labels(x))),
    "nn.Embedding(max_norm)": _mapped(lambda: nn.Embedding(9, UNITS, max_norm=1.0), lambda m, x: x * m(_labels(x))),
    "nn.Embedding(scale_grad_by_freq)": _mapped(
        lambda: nn.Embedding(9, UNITS, scale_grad_by_freq=True), lambda m, x: x * m(_labels(x) // 2)
    ),
    "nn.EmbeddingBag": _mapped(lambda: nn.EmbeddingBag(9, UNITS), lambda m, x: x * m(_labels(x)[None])),
    "nn.EmbeddingBag(sum)": _mapped(
        lambda: nn.EmbeddingBag(9, UNITS, mode="sum"), lambda m, x: x * m(_labels(x)[None])
    ),
    "nn.Conv1d": _mapped(lambda: nn.Conv1d(UNITS, 3, 2), lambda m, x: m(x.mT)),
    "nn.Conv2d": _mapped(lambda: nn.Conv2d(2, 3, 2, padding=1), lambda m, x: m(_image(x))),
    "nn.Conv2d(padding_mode=circular)": _mapped(
        lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), lambda m, x: m(_image(x))
    ),
    "nn.ConvTranspose1d": _mapped(lambda: nn.ConvTranspose1d(UNITS, 3, 2, stride=2), lambda m, x: m(x.mT)),
    "nn.ConvTranspose2d": _mapped(lambda: nn.ConvTranspose2d(2, 3, 2, stride=2), lambda m, x: m(_image(x))),
    "nn.Fold": _mapped(lambda: nn.Fold((3, 3), 2), lambda m, x: m(x[:, :4].mT)),
    "nn.Unfold": _mapped(lambda: nn.Unfold(2), lambda m, x: m(_image(x))),
    "nn.PixelShuffle": _mapped(lambda: nn.PixelShuffle(2), lambda m, x: m(x.unflatten(2, (4, 2)).transpose(1, 2))),
    "nn.Upsample": _mapped(lambda: nn.Upsample(scale_factor=2), lambda m, x: m(_image(x))),
    "nn.UpsamplingBilinear2d": _mapped(lambda: nn.UpsamplingBilinear2d(scale_factor=2), lambda m, x: m(_image(x))),
    "nn.MaxPool1d": lambda: nn.MaxPool1d(2),
    "nn.MaxUnpool1d": _mapped(nn.Identity, lambda m, x: m(nn.MaxUnpool1d(2)(*nn.MaxPool1d(2, return_indices=True)(x)))),
    "nn.AvgPool1d": lambda: nn.AvgPool1d(2),
    "nn.LPPool1d": _mapped(lambda: nn.LPPool1d(2, 2), lambda m, x: m(x.exp())),
    "nn.AdaptiveAvgPool1d": lambda: nn.AdaptiveAvgPool1d(4),
    "nn.AdaptiveMaxPool1d": lambda: nn.AdaptiveMaxPool1d(4),
    "nn.ReflectionPad1d": lambda: nn.ReflectionPad1d(2),
    "nn.ReplicationPad1d": lambda: nn.ReplicationPad1d(2),
    "nn.ZeroPad1d": lambda: nn.ZeroPad1d(2),
    "nn.ConstantPad1d": lambda: nn.ConstantPad1d(2, 0.7),
    "nn.CircularPad1d": lambda: nn.CircularPad1d(2),
    "nn.BatchNorm1d": _mapped(lambda: nn.BatchNorm1d(UNITS), lambda m, x: m(x.mT)),
    "nn.BatchNorm1d(track_running_stats=False)": _mapped(
        lambda: nn.BatchNorm1d(UNITS, track_running_stats=False), lambda m, x: m(x.mT)
    ),
    "nn.BatchNorm2d": _mapped(lambda: nn.BatchNorm2d(2), lambda m, x: m(_image(x))),
    "nn.InstanceNorm1d": lambda: nn.InstanceNorm1d(UNITS),
    "nn.InstanceNorm2d(affine)": _mapped(lambda: nn.InstanceNorm2d(2, affine=True), lambda m, x: m(_image(x))),
    "nn.GroupNorm": _mapped(lambda: nn.GroupNorm(2, UNITS), lambda m, x: m(x.mT)),
    "nn.LayerNorm": lambda: nn.LayerNorm(UNITS),
    "nn.LayerNorm(no affine)": lambda: nn.LayerNorm(UNITS, elementwise_affine=False),
    "nn.LayerNorm(no bias)": lambda: nn.LayerNorm(UNITS, bias=False),
    "nn.RMSNorm": lambda: nn.RMSNorm(UNITS),
    "nn.RMSNorm(eps)": lambda: nn.RMSNorm(UNITS, eps=1e-3),
    "nn.LocalResponseNorm": _mapped(lambda: nn.LocalResponseNorm(2), lambda m, x: m(_image(x))),
    "nn.CrossMapLRN2d": _mapped(lambda: nn.CrossMapLRN2d(2), lambda m, x: m(_image(x))),
    "nn.PReLU": nn.PReLU,
    "nn.PReLU(channels)": _mapped(lambda: nn.PReLU(UNITS), lambda m, x: m(x.mT)),
    "nn.GLU": nn.GLU,
    "nn.Softmax": lambda: nn.Softmax(-1),
    "nn.Softmax2d": _mapped(nn.Softmax2d, lambda m, x: m(_image(x))),
    "nn.Threshold": lambda: nn.Threshold(0.1, 0.7),
    "nn.RReLU": nn.RReLU,
    "nn.Dropout": nn.Dropout,
    "nn.AlphaDropout": nn.AlphaDropout,
    "nn.FeatureAlphaDropout": nn.FeatureAlphaDropout,
    "nn.RNN": _mapped(lambda: nn.RNN(UNITS, 3, batch_first=True), lambda m, x: m(x)[0]),
    "nn.RNN(relu, 2 layers, bidirectional)": _mapped(
        lambda: nn.RNN(UNITS, 3, 2, nonlinearity="relu", bidirectional=True, batch_first=True), lambda m, x: m(x)[0]
    ),
    "nn.LSTM": _mapped(lambda: nn.LSTM(UNITS, 3, batch_first=True), lambda m, x: m(x)[0]),
    "nn.LSTM(2 layers, bidirectional)": _mapped(
        lambda: nn.LSTM(UNITS, 3, 2, bidirectional=True, batch_first=True), lambda m, x: m(x)[0]
    ),
    "nn.LSTM(no bias)": _mapped(lambda: nn.LSTM(UNITS, 3, bias=False), lambda m, x: m(x.transpose(0, 1))[1][1]),
    "nn.LSTM(no batch)": _mapped(lambda: nn.LSTM(UNITS, 3), lambda m, x: m(x[0])[0]),
    "nn.LSTM(proj_size)": _mapped(lambda: nn.LSTM(UNITS, 3, proj_size=2, batch_first=True), lambda m, x: m(x)[0]),
    "nn.LSTM(packed, one sentence)": _mapped(
        lambda: nn.LSTM(UNITS, 3, batch_first=True),
        lambda m, x: nn.utils.rnn.pad_packed_sequence(
            m(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([x.shape[1]]), batch_first=True))[0], batch_first=True
        )[0],
    ),
    "nn.GRU": _mapped(lambda: nn.GRU(UNITS, 3, batch_first=True), lambda m, x: m(x)[0]),
    "nn.GRU(2 layers, bidirectional)": _mapped(
        lambda: nn.GRU(UNITS, 3, 2, bidirectional=True, batch_first=True), lambda m, x: m(x)[1]
    ),
    "nn.RNNCell": _mapped(lambda: nn.RNNCell(UNITS, 3), lambda m, x: m(x[0], m(x[0]))),
    "nn.LSTMCell": _mapped(lambda: nn.LSTMCell(UNITS, 3), lambda m, x: m(x[0], m(x[0]))[1]),
    "nn.GRUCell": _mapped(lambda: nn.GRUCell(UNITS, 3), lambda m, x: m(x[0], m(x[0]))),
    "nn.MultiheadAttention": _mapped(
        lambda: nn.MultiheadAttention(UNITS, 2, batch_first=True), lambda m, x: m(x, x, x)[0]
    ),
    "nn.MultiheadAttention(kdim, no weights)": _mapped(
        lambda: nn.MultiheadAttention(UNITS, 2, kdim=4, vdim=4, batch_first=True),
        lambda m, x: m(x, x[..., :4], x[..., 4:], need_weights=False)[0],
    ),
    "nn.MultiheadAttention(attn_mask)": _mapped(
        lambda: nn.MultiheadAttention(UNITS, 2, batch_first=True),
        lambda m, x: m(x, x, x, attn_mask=_causal(x), average_attn_weights=False)[1],
    ),
    "nn.MultiheadAttention(key_padding_mask)": _mapped(
        lambda: nn.MultiheadAttention(UNITS, 2, batch_first=True),
        lambda m, x: m(x, x, x, key_padding_mask=(torch.arange(x.shape[1]) == 1)[None])[0],
    ),
    "nn.MultiheadAttention(bias_kv, zero_attn)": _mapped(
        lambda: nn.MultiheadAttention(UNITS, 2, add_bias_kv=True, add_zero_attn=True),
        lambda m, x: m(x[0], x[0], x[0])[0],
    ),
    "nn.TransformerEncoderLayer": lambda: nn.TransformerEncoderLayer(UNITS, 2, 12, batch_first=True),
    "nn.TransformerEncoderLayer(norm_first, gelu)": lambda: nn.TransformerEncoderLayer(
        UNITS, 2, 12, activation="gelu", norm_first=True, batch_first=True
    ),
    "nn.TransformerEncoderLayer(not batch_first)": _mapped(
        lambda: nn.TransformerEncoderLayer(UNITS, 2, 12), lambda m, x: m(x.transpose(0, 1))
    ),
    "nn.TransformerEncoder": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(UNITS, 2, 12, batch_first=True), 2
    ),
    "nn.TransformerEncoder(mask, is_causal)": _mapped(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(UNITS, 2, 12, batch_first=True), 2),
        lambda m, x: m(x, mask=_causal(x), is_causal=True),
    ),
    "nn.TransformerEncoder(mask)": _mapped(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(UNITS, 2, 12, batch_first=True), 2),
        lambda m, x: m(x, mask=_causal(x)),
    ),
    "nn.TransformerEncoder(src_key_padding_mask)": _mapped(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(UNITS, 2, 12, batch_first=True), 2),
        lambda m, x: m(x, src_key_padding_mask=(torch.arange(x.shape[1]) == 1)[None]),
    ),
    "nn.TransformerDecoderLayer": _mapped(
        lambda: nn.TransformerDecoderLayer(UNITS, 2, 12, batch_first=True), lambda m, x: m(x, x.exp())
    ),
    "nn.TransformerDecoder": _mapped(
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(UNITS, 2, 12, batch_first=True), 2),
        lambda m, x: m(x, x.exp(), tgt_mask=_causal(x), tgt_is_causal=True),
    ),
    "nn.TransformerDecoder(tgt_mask)": _mapped(
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(UNITS, 2, 12, batch_first=True), 2),
        lambda m, x: m(x, x.exp(), tgt_mask=_causal(x)),
    ),
    "nn.Transformer": _mapped(
        lambda: nn.Transformer(UNITS, 2, 1, 1, 12, batch_first=True),
        lambda m, x: m(x, x.exp(), tgt_mask=_causal(x), tgt_is_causal=True),
    ),
    "nn.Transformer(tgt_mask)": _mapped(
        lambda: nn.Transformer(UNITS, 2, 1, 1, 12, batch_first=True), lambda m, x: m(x, x.exp(), tgt_mask=_causal(x))
    ),
    "nn.Sequential": lambda: nn.Sequential(nn.Linear(UNITS, 5), nn.Tanh(), nn.Linear(5, 2)),
    "nn.ModuleDict": _mapped(
        lambda: nn.ModuleDict({"inner": nn.ModuleDict({"a.b".replace(".", "_"): nn.Linear(UNITS, 2)})}),
        lambda m, x: m["inner"]["a_b"](x),
    ),
    "nn.ParameterList": _mapped(
        lambda: nn.ParameterList([torch.ones(UNITS), torch.linspace(0, 1, UNITS)]), lambda m, x: x * m[0] + m[1]
    ),
    "nn.ParameterDict": _mapped(lambda: nn.ParameterDict({"a": torch.ones(UNITS)}), lambda m, x: x * m["a"]),
    "nn.CrossEntropyLoss": _mapped(
        lambda: nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=3), lambda m, x: m(x[0], _labels(x))
    ),
    "nn.AdaptiveLogSoftmaxWithLoss": _mapped(
        lambda: nn.AdaptiveLogSoftmaxWithLoss(UNITS, 8, [3, 5]), lambda m, x: m(x[0], _labels(x)).loss
    ),
    "nn.CosineSimilarity": _mapped(nn.CosineSimilarity, lambda m, x: m(x, x.exp())),
    "nn.PairwiseDistance": _mapped(nn.PairwiseDistance, lambda m, x: m(x, x.exp())),
    "nn.utils.parametrizations.weight_norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(UNITS, 3)),
    "nn.utils.parametrizations.spectral_norm": lambda: nn.utils.parametrizations.spectral_norm(
        nn.Linear(UNITS, 3)
    ).eval(),
    "nn.utils.parametrizations.orthogonal": lambda: nn.utils.parametrizations.orthogonal(nn.Linear(UNITS, 3)),
    "nn.utils.spectral_norm": lambda: nn.utils.spectral_norm(nn.Linear(UNITS, 3)).eval(),
}

CASES = {name: Case(make, is_module=True) for name, make in MODULES.items()}
