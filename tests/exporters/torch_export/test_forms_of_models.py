"""Ways to write, wrap and keep models: torch's own loss and gradients, or one line that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

from gradtrace.exporters.models import ModelError
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.torch_export.export import for_tracing

WORDS, UNITS = 11, 4
DTYPES = (torch.float64, torch.float32)


def _samples(**others: Tensor) -> list[dict[str, Tensor]]:
    return [{"ids": torch.tensor([[(3 * i + 1) % 10 for i in range(n)]]), **others} for n in (4, 6)]


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.out = nn.Embedding(WORDS, UNITS), nn.Linear(UNITS, 5)

    def loss(self, ids: Tensor, x: Tensor) -> Tensor:
        return F.cross_entropy(self.out(x)[0], ids[0] % 5)

    def forward(self, ids: Tensor) -> Tensor:
        return self.loss(ids, self.embedding(ids))


def _same_as(
    plain: nn.Module, given: nn.Module, dtype: torch.dtype, samples: list[dict[str, Tensor]] | None = None
) -> TorchModel:
    """Record `given`, whose loss and gradients must be those of `plain`, under the names of its parameters."""
    traced = TorchModel(given, dtype)
    plain = for_tracing(plain, dtype)
    for sample in samples or _samples():
        recording = traced.record(sample)
        loss = plain(**{name: x.to(dtype) if x.is_floating_point() else x for name, x in sample.items()})
        plain.zero_grad()
        loss.backward()
        close = 1e-9 if dtype == torch.float64 else 1e-4
        assert recording.loss == pytest.approx(float(loss.detach()), rel=close)
        n_compared = 0
        for name, parameter in plain.named_parameters():
            if parameter.grad is not None and bool((wanted := _dense(parameter.grad)).any()):
                scale = float(wanted.abs().max())
                np.testing.assert_allclose(recording.gradient(name), wanted.numpy(), rtol=0, atol=close * scale)
                n_compared += 1
        assert n_compared
    return traced


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


# How forward is called


class Keywords(Model):
    def forward(self, **batch: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(batch["ids"])


class SomeKeywords(Model):
    def forward(self, ids: Tensor, **others: Tensor) -> Tensor:
        return super().forward(ids) * others["weight"].sum()


class OnlyKeywords(Model):
    def forward(self, *, ids: Tensor, scale: float = 2.0) -> Tensor:  # type: ignore[override]
        return scale * super().forward(ids)


@pytest.mark.parametrize("dtype", DTYPES)
def test_keywords(dtype: torch.dtype) -> None:
    assert len(_same_as(Model(), Keywords(), dtype)._recorders) == 1


def test_some_keywords() -> None:
    _same_as(SomeKeywords(), SomeKeywords(), torch.float64, _samples(weight=torch.tensor([[0.5, 2.0]])))
    _same_as(OnlyKeywords(), OnlyKeywords(), torch.float64)


class Positions(Model):
    def forward(self, *inputs: Tensor) -> Tensor:
        return super().forward(inputs[0])


class PositionOnly(Model):
    def forward(self, ids: Tensor, /) -> Tensor:
        return super().forward(ids)


class WithoutInputs(Model):
    def forward(self) -> Tensor:  # type: ignore[override]
        return self.out.weight.square().sum()


def test_without_inputs() -> None:
    _same_as(WithoutInputs(), WithoutInputs(), torch.float64, [{}])


class NamedAsItsInput(Model):
    """A parameter of the root is called as an argument of forward."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = nn.Parameter(torch.randn(UNITS))

    def forward(self, ids: Tensor) -> Tensor:
        return self.loss(ids, self.embedding(ids) * self.ids)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_parameter_named_as_an_input(dtype: torch.dtype) -> None:
    traced = _same_as(NamedAsItsInput(), NamedAsItsInput(), dtype)
    assert [value.name for value in traced.model.graph.input] == ["ids_input"]


# What is around a model

_compiled = partial(torch.compile, backend="eager")


def _of_two(wrap: Callable[[nn.Module], nn.Module]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = Model()
        model.out = wrap(model.out)  # type: ignore[assignment]
        return model

    return build


def _in_place() -> nn.Module:
    model = Model()
    model.compile(backend="eager")
    return model


@pytest.mark.parametrize(
    "build",
    [lambda: _compiled(Model()), lambda: nn.DataParallel(Model()), lambda: _compiled(nn.DataParallel(Model()))],
    ids=["compile", "DataParallel", "both"],
)
def test_the_module_inside(build: Callable[[], Any]) -> None:
    """Its parameters have the names that they have in it."""
    _same_as(Model(), build(), torch.float64)
    _same_as(Model(), _in_place(), torch.float32)


@pytest.mark.parametrize("wrap", [_compiled, nn.DataParallel])
def test_a_part_that_is_wrapped(wrap: Callable[[nn.Module], nn.Module]) -> None:
    build = _of_two(wrap)
    _same_as(build(), build(), torch.float64)


class Scriptable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS)

    def forward(self, ids: Tensor) -> Tensor:
        return self.embedding(ids).square().sum()


def _meta() -> nn.Module:
    with torch.device("meta"):
        return Model()


def _lazy() -> nn.Module:
    model = Model()
    model.out = nn.LazyLinear(5)
    return model


def _complex() -> nn.Module:
    model = Model()
    model.phase = nn.Parameter(torch.ones(UNITS, dtype=torch.complex64))
    return model


class Packs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(WORDS, UNITS), nn.LSTM(UNITS, 3, batch_first=True)

    def forward(self, ids: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embedding(ids).expand(2, -1, -1), [ids.shape[1], 2], batch_first=True)
        return self.layer(packed)[0].data.square().sum()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: torch.jit.script(Scriptable()), r"the model is a TorchScript module.*Give the module that"),
        (_of_two(torch.jit.script), r"module 'out' is a TorchScript module"),
        (lambda: torch.jit.trace(Scriptable(), (_samples()[0]["ids"],)), r"the model is a TorchScript module"),
        (_meta, r"embedding.weight is on the meta device and has no numbers"),
        (_lazy, r"out.weight has no size yet: run the model once"),
        (_complex, r"the parameter phase is complex; real ones are wanted"),
        (Positions, r"forward takes \*inputs by position; inputs are given by name. Write forward\(self, input_ids"),
        (PositionOnly, r"forward takes ids by position"),
        (Packs, r"the model packs 2 sentences; one is wanted"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*[Ll]azy", "ignore:.*torch.jit")
def test_refused(build: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        TorchModel(build(), torch.float32).record(_samples()[0])
    assert "\n" not in str(error.value)


# What parameters and buffers are


class Sizes(Model):
    """A parameter without elements that is read, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.prefix, self.unused = nn.Parameter(torch.zeros(0, UNITS)), nn.Parameter(torch.zeros(0))

    def forward(self, ids: Tensor) -> Tensor:
        return self.loss(ids, torch.cat([self.prefix[None], self.embedding(ids)], 1))


class Codes(Model):
    """Of a quantised weight, as quantisation libraries keep them; and a mask kept as a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Parameter(torch.randint(-9, 9, (5, UNITS), dtype=torch.int8), requires_grad=False)
        self.mask = nn.Parameter(torch.tensor([True, False, True, True]), requires_grad=False)
        self.step = nn.Parameter(torch.tensor(0.1))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) * self.mask
        return F.cross_entropy((x @ (self.codes.to(x.dtype) * self.step).T)[0], ids[0] % 5)


class Sparse(Model):
    """Gradients of embeddings as sparse tensors: by module, by function, in a bag."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(WORDS, UNITS, sparse=True)
        self.bag = nn.EmbeddingBag(WORDS, UNITS, sparse=True, mode="sum")
        self.table = nn.Parameter(torch.randn(WORDS, UNITS))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) + F.embedding(ids, self.table, sparse=True) + self.bag(ids)[:, None]
        return self.loss(ids, x)


class Buffers(Model):
    """Of every type, one that is not saved, one that is None, and a complex one."""

    def __init__(self) -> None:
        super().__init__()
        for name, dtype in {"h": torch.float16, "b": torch.bfloat16, "u": torch.uint8, "i": torch.int32}.items():
            self.register_buffer(name, torch.tensor([1, 2, 3, 4]).to(dtype))
        self.register_buffer("m", torch.tensor([True, False, True, True]))
        self.register_buffer("d", torch.linspace(0.1, 2, UNITS, dtype=torch.float64), persistent=False)
        self.register_buffer("nothing", None)
        self.register_buffer("phase", torch.polar(torch.ones(2), torch.tensor([0.3, 1.1])))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        for name in "hbuimd":
            x = x * getattr(self, name).to(x.dtype)
        turned = torch.view_as_complex(x.unflatten(-1, (2, 2))) * self.phase  # type: ignore[operator]
        return self.loss(ids, torch.view_as_real(turned).flatten(-2))


class Nested(Model):
    """A module used twice, within dictionaries and lists; parameters in a list and in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.dictionary = nn.ModuleDict({"a": nn.ModuleDict({"b": nn.ModuleList([nn.Linear(UNITS, UNITS)])})})
        self.again = self.dictionary["a"]["b"][0]  # type: ignore[index]
        self.listed, self.named = nn.ParameterList([torch.rand(UNITS)]), nn.ParameterDict({"k": torch.rand(UNITS)})

    def forward(self, ids: Tensor) -> Tensor:
        inner = self.dictionary["a"]["b"][0](self.embedding(ids) * self.listed[0] + self.named["k"])  # type: ignore[index]
        return self.loss(ids, self.again(inner))


class Squashed(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.tanh()


class Parametrized(Model):
    def __init__(self) -> None:
        super().__init__()
        self.middle, self.last = nn.Linear(UNITS, UNITS), nn.Linear(UNITS, UNITS)
        nn.utils.parametrizations.weight_norm(self.out)
        nn.utils.parametrizations.spectral_norm(self.middle)
        nn.utils.parametrize.register_parametrization(self.last, "weight", Squashed())

    def forward(self, ids: Tensor) -> Tensor:
        return self.loss(ids, self.last(self.middle(self.embedding(ids))))


class MadeWithoutType(Model):
    """Tensors of the default type, which is float32 beside parameters in float64."""

    def forward(self, ids: Tensor) -> Tensor:
        positions = torch.arange(ids.shape[1]).cos() + torch.arange(ids.shape[1]) / 3
        return self.loss(ids, self.embedding(ids) * positions[:, None] @ (torch.eye(UNITS) + torch.ones(UNITS, UNITS)))


@pytest.mark.parametrize(
    "model", [Sizes, Codes, Sparse, Buffers, Nested, Parametrized, MadeWithoutType], ids=lambda model: model.__name__
)
def test_parameters_and_buffers(model: Callable[[], nn.Module]) -> None:
    for dtype in DTYPES:
        _same_as(model(), model(), dtype)


# Packed sequences of one sentence


class Packed(nn.Module):
    """As most code reads sentences: packed by length, a recurrent layer, padded again."""

    def __init__(self, layer: type[nn.RNNBase], padded_to: int | None, is_sorted: bool, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.layer = nn.Embedding(WORDS, UNITS), layer(UNITS, 3, **options)
        self.padded_to, self.is_sorted, self.batch_first = padded_to, is_sorted, self.layer.batch_first

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids) if self.batch_first else self.embedding(ids).transpose(0, 1)
        lengths = (ids >= 0).sum(1)
        packed = pack_padded_sequence(x, lengths, self.batch_first, self.is_sorted)
        y, last = self.layer(PackedSequence(packed.data.tanh(), packed.batch_sizes))
        y, lengths = pad_packed_sequence(y, self.batch_first, 0.5, self.padded_to)
        weights = torch.arange(y.numel()).reshape(y.shape).cos()
        return (y * weights).sum() + lengths.sum() + sum(x.square().sum() for x in _states(last))


def _states(last: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    return last if isinstance(last, tuple) else (last,)


class PackedList(Packed):
    def forward(self, ids: Tensor) -> Tensor:
        h = torch.zeros(1, 1, 3)
        y, _ = self.layer(pack_sequence([self.embedding(ids)[0]]), (h, h))
        return y.data.square().sum()


PACKED: Mapping[str, Callable[[], nn.Module]] = {
    "LSTM, both directions": lambda: Packed(nn.LSTM, None, True, num_layers=2, bidirectional=True, batch_first=True),
    "GRU, not sorted, longer": lambda: Packed(nn.GRU, 9, False, batch_first=True),
    "RNN, steps first": lambda: Packed(nn.RNN, None, False),
    "a list": lambda: PackedList(nn.LSTM, None, True),
}


@pytest.mark.parametrize("name", PACKED)
def test_one_packed_sentence(name: str) -> None:
    """It is the sentence itself, whatever its length is."""
    torch.manual_seed(0)
    model = PACKED[name]()
    traced = _same_as(model, model, torch.float64)
    assert len(traced._recorders) == 1 or name == "a list"
