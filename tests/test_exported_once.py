"""Two models have one export only if they are alike in everything that an export is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.torch_export.export import Exported, for_tracing

from . import exported_once
from .exported_once import FOLDER, name_of

INPUTS = {"x": torch.ones(1, 3)}


class Scaled(nn.Module):
    """A parameter, a number, and a function."""

    def __init__(self, factor: float = 1.0, function: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.factor, self.function = factor, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.second(self.first(x)) * self.factor).sum()


def changed(change: Callable[[Scaled], object]) -> Scaled:
    model = Scaled()
    change(model)
    return model


def times(factor: float) -> Callable[[Tensor], Tensor]:
    def product(x: Tensor) -> Tensor:
        return x * factor

    return product


def copied_first(model: Scaled) -> None:
    """Equal numbers, but two parameters."""
    model.second.load_state_dict(model.first.state_dict())


def shared_first(model: Scaled) -> None:
    model.second = model.first


def shared_weight(model: Scaled) -> None:
    copied_first(model)
    model.second.weight = model.first.weight


OTHERS: list[nn.Module] = [
    Scaled(),
    Scaled(2.0),
    Scaled(function=torch.sigmoid),
    Scaled(function=lambda x: x * 2),
    Scaled(function=lambda x: x * 3),
    Scaled(function=times(2.0)),
    Scaled(function=times(3.0)),
    Scaled().eval(),
    Scaled().double(),
    for_tracing(Scaled(), torch.float64),
    for_tracing(Scaled(2.0), torch.float64),
    changed(copied_first),
    changed(shared_first),
    changed(shared_weight),
    changed(lambda model: model.first.weight.data[0, 0].add_(1e-6)),
    changed(lambda model: model.first.requires_grad_(False)),
    changed(lambda model: model.first.register_buffer("scale", torch.ones(1))),
    changed(lambda model: model.first.register_forward_hook(lambda *_: None)),
    nn.Linear(3, 3),
]


def test_models_that_differ_in_anything_have_names_of_their_own() -> None:
    names = [name_of(model, INPUTS, True) for model in OTHERS]
    assert None not in names
    assert len(set(names)) == len(OTHERS)


def test_inputs_and_settings_are_in_the_name() -> None:
    x = INPUTS["x"]
    given = [{"x": x}, {"y": x}, {"x": x.repeat(2, 1)}, {"x": x.double()}, {"x": x.repeat(1, 2)[:, ::2]}]
    names = [name_of(Scaled(), inputs, dynamic) for inputs in given for dynamic in (True, False)]
    with torch.no_grad():
        names.append(name_of(Scaled(), INPUTS, True))
    assert len(set(names)) == len(names)


def test_models_made_alike_have_one_name() -> None:
    for make in (Scaled, lambda: for_tracing(Scaled(), torch.float64), lambda: Scaled(function=times(2.0))):
        assert name_of(make(), INPUTS, True) == name_of(make(), {"x": torch.zeros(1, 3)}, True) is not None


def test_a_class_within_a_function_has_none() -> None:
    class Local(Scaled):
        pass

    assert name_of(Local(), INPUTS, True) is None


def test_another_file_is_another_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its functions may be called alike and do something else."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []
    for number in (1, 22):
        (tmp_path / "mine.py").write_text(f"from torch import nn\nNUMBER = {number}\nclass Mine(nn.Linear): pass\n")
        monkeypatch.delitem(exported_once.sys.modules, "mine", raising=False)
        import mine  # type: ignore[import-not-found]

        torch.manual_seed(0)
        names.append(name_of(mine.Mine(3, 3), INPUTS, True))
    assert None not in names
    assert names[0] != names[1]


def test_the_second_export_is_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*arguments: object, **options: object) -> Exported:
        calls.append(arguments)
        return export(*arguments, **options)  # type: ignore[arg-type]

    export = exported_once.export
    monkeypatch.setattr(exported_once, "export", counted)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    found = []
    for _ in range(2):
        with exported_once.exported_once():
            model = TorchModel(Scaled(), torch.float64)
            recording = model.record(INPUTS)
        found.append((model.model.SerializeToString(deterministic=True), recording.gradients.tolist()))
    assert len(calls) == 1
    assert found[0] == found[1]
