"""Models as users write them, good ones and bad ones, each a factory for `file.py:factory`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradtrace.exporters import Encoded, Traceable

Forward = Callable[[Any, Tensor], Any]


def encode(text: str) -> Encoded:
    tokens = text.split()
    return Encoded({"ids": torch.tensor([[sum(map(ord, token)) % 11 for token in tokens]])}, tokens)


class Model(nn.Module):
    def __init__(self, run: Forward, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.run = run
        self.embedding = nn.Embedding(11, 4)
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, ids: Tensor) -> Any:
        return self.run(self, ids)


def built(run: Forward, **modules: nn.Module) -> Traceable:
    return Traceable(Model(run, modules), encode, "user")


def factory(run: Forward, **modules: Callable[[], nn.Module]) -> Callable[[], Traceable]:
    def build() -> Traceable:
        torch.manual_seed(0)
        return built(run, **{name: make() for name, make in modules.items()})

    return build


def embedded(m: Any, ids: Tensor) -> Tensor:
    found: Tensor = m.embedding(ids)
    return found


def language_model_loss(m: Any, ids: Tensor) -> Tensor:
    return cross_entropy(m.decoder(torch.tanh(embedded(m, ids)))[0], ids[0])


# Outputs that are no loss

vector = factory(lambda m, ids: embedded(m, ids).sum(-1))
integer = factory(lambda m, ids: embedded(m, ids).argmax())
detached = factory(lambda m, ids: embedded(m, ids).sum().detach())
several = factory(lambda m, ids: (embedded(m, ids).sum(), 1))
one_weight = factory(lambda m, _: m.embedding.weight[0, 0])

# Operations that cannot be traced

spectrum = factory(lambda m, ids: torch.fft.rfft(embedded(m, ids)).abs().sum())
inner_spectrum = factory(
    lambda m, ids: m.inner(ids), inner=lambda: Model(lambda m, ids: torch.fft.rfft(embedded(m, ids)).abs().sum(), {})
)
dropout = factory(lambda m, ids: nn.functional.dropout(embedded(m, ids), 0.5, training=True).tanh().sum())

# Forwards that raise


def _too_short(m: Any, ids: Tensor) -> Tensor:
    assert ids.shape[1] > 2, "too short"
    return embedded(m, ids).tanh().sum()


def _key(m: Any, ids: Tensor) -> Tensor:
    return embedded(m, ids).tanh().sum() * {3: 1.0}[ids.shape[1]]


asserting = factory(_too_short)
looking_up = factory(_key)


# Good ones


def _cells(m: Any, ids: Tensor) -> Tensor:
    x = embedded(m, ids)
    h = c = x.new_zeros(1, 5)
    for t in range(x.shape[1]):
        h, c = m.cell(x[:, t], (h, c))
    loss: Tensor = m.out(h).sum()
    return loss


def _logit_difference(m: Any, ids: Tensor) -> Tensor:
    logits = m.out(m.gru(embedded(m, ids))[0])
    return logits[0, -1, 3] - logits[0, -1, 5]


one_by_one = factory(lambda m, ids: embedded(m, ids).tanh().sum().reshape(1, 1))
cells = factory(_cells, cell=lambda: nn.LSTMCell(4, 5), out=lambda: nn.Linear(5, 1))
unused = factory(lambda m, ids: embedded(m, ids).tanh().sum(), spare=lambda: nn.Linear(3, 3))
gru = factory(lambda m, ids: m.gru(embedded(m, ids))[0].sum(), gru=lambda: nn.GRU(4, 5, 2, batch_first=True))
bidirectional = factory(
    lambda m, ids: m.lstm(embedded(m, ids))[0].sum(), lstm=lambda: nn.LSTM(4, 5, bidirectional=True, batch_first=True)
)
bidirectional_relu = factory(
    lambda m, ids: m.rnn(embedded(m, ids))[0].sum(),
    rnn=lambda: nn.RNN(4, 5, 2, nonlinearity="relu", bidirectional=True, batch_first=True),
)
logit_difference = factory(_logit_difference, gru=lambda: nn.GRU(4, 5, batch_first=True), out=lambda: nn.Linear(5, 7))


def tied() -> Traceable:
    torch.manual_seed(0)
    traceable = built(language_model_loss, decoder=nn.Linear(4, 11))
    model: Any = traceable.model
    model.decoder.weight = model.embedding.weight
    return traceable


def frozen() -> Traceable:
    torch.manual_seed(0)
    traceable = built(language_model_loss, decoder=nn.Linear(4, 11))
    model: Any = traceable.model
    model.embedding.weight.requires_grad_(False)
    return traceable


class WithState(nn.Module):
    """Inputs: the first hidden state of an LSTM, floating-point."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        output, _ = self.lstm(x, (h, c))
        return output.pow(2).sum()


def with_state() -> Traceable:
    torch.manual_seed(0)

    def random_inputs(text: str) -> Encoded:
        generator = torch.Generator().manual_seed(len(text))
        shapes = {"x": (1, len(text), 3), "h": (1, 1, 4), "c": (1, 1, 4)}
        return Encoded({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, list(text))

    return Traceable(WithState(), random_inputs, "with_state")


# Factories that are none


def raising() -> Traceable:
    raise KeyError("weights")


def returning_a_module() -> nn.Module:
    return nn.Linear(2, 2)


not_callable = 3
