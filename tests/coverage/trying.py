"""Trying functions: exported, recorded on two samples, every gradient compared with torch's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.queries.errors import GradtraceError, first_line

UNITS = 8
LENGTHS = (4, 6)
# largest difference of a gradient from torch's, over the largest of its parameter's
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4}
WORKS, PER_LENGTH = "works", "works, one export for each length"

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """A function of x (1 x T x UNITS, between -2 and 2, no two numbers alike), or a module that is one."""

    function: Function | Callable[[], nn.Module]
    is_module: bool = False

    def build(self) -> Function:
        """The function; a module's parameters are drawn anew."""
        torch.manual_seed(3)
        return self.function() if self.is_module else self.function  # type: ignore[return-value,call-arg]


class _One(nn.Module):
    """x, scaled and shifted by parameters, through one function; its outputs weighted so that none is like another."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.7, 1.3, UNITS))
        self.shift = nn.Parameter(torch.linspace(-0.2, 0.3, UNITS))
        self.function = case.build()

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x * self.scale + self.shift * x.cos())
        flat = y.reshape(-1)
        return (flat * (1.5 + torch.arange(flat.shape[0], dtype=x.dtype)).cos()).sum()


class Several(nn.Module):
    """Functions side by side, each with parameters of its own; the sum of what they return."""

    def __init__(self, cases: Sequence[Case]) -> None:
        super().__init__()
        self.tried = nn.ModuleList(_One(case) for case in cases)

    def forward(self, x: Tensor) -> Tensor:
        loss = torch.zeros((), dtype=x.dtype)
        for one in self.tried:
            loss = loss + one(x)
        return loss


def samples() -> list[dict[str, Tensor]]:
    """One for each length."""
    generator = torch.Generator().manual_seed(2)
    return [{"x": torch.rand(1, n, UNITS, generator=generator, dtype=torch.float64) * 4 - 2} for n in LENGTHS]


def attempt(cases: Sequence[Case], dtype: torch.dtype) -> str:
    """WORKS, PER_LENGTH, or the first line of why not, of these functions side by side."""
    module = Several(cases).to(dtype).eval()
    traced = TorchModel(module, dtype)
    try:
        for sample in samples():
            _compare(module, traced, {"x": sample["x"].to(dtype)})
    except GradtraceError as error:
        return f"refused: {first_line(error)}"
    except AssertionError as error:
        return f"WRONG: {first_line(error)}"
    except Exception as error:
        return f"CRASH: {type(error).__name__}: {first_line(error)}"
    return WORKS if len(traced._recorders) == 1 else PER_LENGTH


def _compare(module: nn.Module, traced: TorchModel, inputs: Mapping[str, Tensor]) -> None:
    recording = traced.record(inputs)
    parameters = dict(module.named_parameters())
    loss = module(**inputs)
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    wanted = [gradient.to_dense() if gradient.is_sparse else gradient for gradient in found]
    tolerance = TOLERANCE[recording.tape.dtype]
    np.testing.assert_allclose(recording.loss, float(loss.detach()), rtol=tolerance, atol=tolerance)
    recorded = {t.name for t in recording.tape.tensors if t.kind == "parameter"}
    for (name, parameter), gradient in zip(parameters.items(), wanted, strict=True):
        found = recording.gradient(name) if name in recorded else np.zeros(parameter.shape)
        scale = float(gradient.abs().max())
        assert np.abs(found - gradient.numpy()).max() <= tolerance * scale, f"{name}: {found} and not {gradient}"


def try_all(cases: Mapping[str, Case], dtype: torch.dtype, together: int = 8) -> Iterator[tuple[str, str]]:
    """What becomes of each: tried in groups, and one by one in a group that does not work as a whole."""
    names = list(cases)
    for first in range(0, len(names), together):
        group = names[first : first + together]
        if attempt([cases[name] for name in group], dtype) == WORKS:
            yield from ((name, WORKS) for name in group)
        else:
            yield from ((name, attempt([cases[name]], dtype)) for name in group)
