"""nn.RNN, nn.LSTM and nn.GRU as one operator each while exporting, with a dynamic number of steps.

Left alone, torch unrolls them for one fixed length: always nn.RNN, in float64 also the others, and from the second
export of a process on in float32. While `recurrent_layers_whole()` is active they are custom operators that know
their output's shape and nothing else; `TRANSLATIONS` says what they become in ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from onnxscript import opset20
from onnxscript.function_libs.torch_lib.ops import core
from torch import Tensor

from ..replaced import replaced
from .packed import OneInEachStep, one_sentence_unpacked

op: Any = opset20  # its operators also take Python numbers and lists, which their annotations do not say
_NAMES = ("rnn_tanh", "rnn_relu", "gru", "lstm")
_VF: Any = torch._VF


def _define(name: str) -> Any:
    """The custom operator for torch._VF's function of one hidden state."""
    original = getattr(_VF, name)

    @torch.library.custom_op(f"gradtrace::{name}", mutates_args=())
    def layer(
        input: Tensor,  # noqa: A002  the argument names of aten
        hx: Tensor,
        params: list[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, Tensor]:
        settings = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
        output, last = original(input, hx, params, *settings)
        return output, last

    @layer.register_fake
    def _(input: Tensor, hx: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:  # noqa: A002
        return _output_like(input, hx, bidirectional=arguments[5]), torch.empty_like(hx)

    return layer


def _define_lstm() -> Any:
    original = _VF.lstm

    @torch.library.custom_op("gradtrace::lstm", mutates_args=())
    def layer(
        input: Tensor,  # noqa: A002
        hx: list[Tensor],
        params: list[Tensor],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        settings = (has_biases, num_layers, dropout, train, bidirectional, batch_first)
        output, last_h, last_c = original(input, hx, params, *settings)
        return output, last_h, last_c

    @layer.register_fake
    def _(input: Tensor, hx: list[Tensor], *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:  # noqa: A002
        output = _output_like(input, hx[0], bidirectional=arguments[5])
        return output, torch.empty_like(hx[0]), torch.empty_like(hx[1])

    return layer


def _output_like(x: Tensor, hidden: Tensor, *, bidirectional: bool) -> Tensor:
    return x.new_empty((*x.shape[:-1], hidden.shape[-1] * (2 if bidirectional else 1)))


_OPERATORS = {name: _define_lstm() if name == "lstm" else _define(name) for name in _NAMES}


@contextmanager
def recurrent_layers_whole() -> Iterator[None]:
    """While active, recurrent layers on plain tensors, and on one packed sentence, run as the custom operators."""
    whole = {name: _whole(_OPERATORS[name], getattr(_VF, name)) for name in _NAMES}
    with replaced(_VF, **whole), one_sentence_unpacked():
        yield


def _whole(operator: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        if isinstance(arguments[1], OneInEachStep):
            x, _, hx, params, *settings = arguments
            output, *last = call(x.unsqueeze(1), hx, params, *settings, False)
            return output.squeeze(1), *last
        if isinstance(arguments[3], (list, tuple)):  # a packed sequence of torch's own
            return original(*arguments)
        x, hx, params, *settings = arguments
        return operator(x, list(hx) if isinstance(hx, tuple) else hx, params, *settings)

    return call


def _rnn(activation: str) -> Any:
    """The translation of nn.RNN to the ONNX operator RNN, one per layer."""

    def translate(
        input: Any,  # noqa: A002  the names of aten::rnn_tanh.input
        hx: Any,
        params: Sequence[Any],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Any, Any]:
        del dropout, train  # the export is in eval mode
        directions = 2 if bidirectional else 1
        per_direction = 4 if has_biases else 2
        x = op.Transpose(input, perm=[1, 0, 2]) if batch_first else input
        last_states = []
        for layer in range(num_layers):
            groups = [
                params[i * per_direction : (i + 1) * per_direction]
                for i in range(layer * directions, (layer + 1) * directions)
            ]
            y, last = op.RNN(
                x,
                _stack([group[0] for group in groups]),
                _stack([group[1] for group in groups]),
                _stack([op.Concat(group[2], group[3], axis=0) for group in groups]) if has_biases else None,
                None,
                op.Slice(hx, [layer * directions], [(layer + 1) * directions], [0]),
                activations=[activation] * directions,
                direction="bidirectional" if bidirectional else "forward",
                hidden_size=hx.shape[2],
            )
            # T x D x B x H -> T x B x DH
            x = op.Reshape(op.Transpose(y, perm=[0, 2, 1, 3]), [0, 0, -1])
            last_states.append(last)
        output = op.Transpose(x, perm=[1, 0, 2]) if batch_first else x
        return output, op.Concat(*last_states, axis=0) if num_layers > 1 else last_states[0]

    return translate


def _stack(tensors: Sequence[Any]) -> Any:
    expanded = [op.Unsqueeze(tensor, [0]) for tensor in tensors]
    return op.Concat(*expanded, axis=0) if len(expanded) > 1 else expanded[0]


TRANSLATIONS: dict[Any, Any] = {
    torch.ops.gradtrace.rnn_tanh.default: _rnn("Tanh"),
    torch.ops.gradtrace.rnn_relu.default: _rnn("Relu"),
    torch.ops.gradtrace.gru.default: core.aten_gru,
    torch.ops.gradtrace.lstm.default: core.aten_lstm,
}

# how torch runs them where a captured program is run by itself: as it does outside of an export
_ORIGINALS = {name: getattr(_VF, name) for name in _NAMES}
EAGER: dict[Any, Callable[..., Any]] = {_OPERATORS[name]._opoverload: _ORIGINALS[name] for name in _NAMES}
