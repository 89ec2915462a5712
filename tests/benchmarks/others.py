"""The same question asked of others: which parts of a small transformer matter for one sentence, and what it costs.

    python tests/benchmarks/others.py

Prints a Markdown table. All figures are of one run, over a step of torch's own forward and backward. captum and
torchlens are measured where they are installed.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measuring import SmallModel, machine, median_seconds
from small_models import encode
from torch import Tensor, nn

TOKENS = 20
Question = Callable[[nn.Module, dict[str, Tensor]], Callable[[], object]]


class Row(NamedTuple):
    """One line: what is asked, of whom, and what it does not give."""

    work: str
    lacks: str
    ask: Question


def activation_times_gradient(module: nn.Module, inputs: dict[str, Tensor]) -> Callable[[], object]:
    """Sum of |activation x gradient| at the output of every submodule."""

    def ask() -> dict[str, float]:
        kept: dict[str, Tensor] = {}
        hooks = [
            part.register_forward_hook(lambda _m, _i, output, name=name: _keep(kept, name, output))
            for name, part in module.named_modules()
        ]
        loss = module(**inputs)
        for hook in hooks:
            hook.remove()
        found = torch.autograd.grad(loss, list(kept.values()), allow_unused=True)
        pairs = zip(kept.items(), found, strict=True)
        return {name: float((x * g).abs().sum()) for (name, x), g in pairs if g is not None}

    return ask


def _keep(kept: dict[str, Tensor], name: str, output: object) -> None:
    if isinstance(output, Tensor) and output.requires_grad:
        kept[name] = output


def zero_ablation(module: nn.Module, inputs: dict[str, Tensor]) -> Callable[[], object]:
    """The loss with the output of one submodule after the other set to zero."""
    parts = [part for name, part in module.named_modules() if name and not isinstance(part, nn.ModuleList)]

    def zeroed(_module: nn.Module, _inputs: object, output: Any) -> Any:
        return torch.zeros_like(output) if isinstance(output, Tensor) else output

    def ask() -> list[float]:
        losses = []
        with torch.no_grad():
            for part in parts:
                hook = part.register_forward_hook(zeroed)
                losses.append(float(module(**inputs)))
                hook.remove()
        return losses

    return ask


def captum(module: nn.Module, inputs: dict[str, Tensor]) -> Callable[[], object]:
    """LayerGradientXActivation of every submodule that has one tensor for its output."""
    attr = importlib.import_module("captum.attr")
    names, values = list(inputs), tuple(inputs.values())
    parts: list[nn.Module] = []

    def loss(*tensors: Tensor) -> Tensor:
        return module(**dict(zip(names, tensors, strict=True))).reshape(1)

    def attribute(part: nn.Module) -> object:
        return attr.LayerGradientXActivation(loss, part).attribute(values)

    for name, part in module.named_modules():
        if name and not isinstance(part, nn.ModuleList):
            try:
                attribute(part)
            except Exception:  # whatever captum makes of a part that has no tensor of its own
                continue
            parts.append(part)
    return lambda: [attribute(part) for part in parts]


def torchlens(module: nn.Module, inputs: dict[str, Tensor]) -> Callable[[], object]:
    """Every operation of a forward pass with its output."""
    lens = importlib.import_module("torchlens")
    return lambda: lens.trace(module, [], dict(inputs))


ROWS = [
    Row(
        "activation × gradient of all modules, torch's hooks",
        "paths, parameters, parts of a module",
        activation_times_gradient,
    ),
    Row("zero ablation of all modules, a forward each", "paths, parameters, direction of training", zero_ablation),
    Row("captum, LayerGradientXActivation of all modules", "paths, parameters, parts of a module", captum),
    Row("torchlens, every operation and its output", "paths, which matter, a store of many sentences", torchlens),
]


def rows() -> Iterator[str]:
    """The lines of the table."""
    model = SmallModel("transformer_lm")
    words = torch.randint(2_000, (TOKENS + 1,), generator=torch.Generator().manual_seed(0))
    inputs = encode(" ".join(map(str, words.tolist()))).inputs

    def step() -> None:
        model.module.zero_grad()
        model.module(**inputs).backward()

    one = median_seconds(step, 25)
    yield f"| a step: torch's forward and backward | 1 ({one * 1e3:.2f} ms) | |"
    for work, lacks, ask in ROWS:
        try:
            took = median_seconds(ask(model.module, inputs))
        except ImportError as error:
            yield f"| {work} | not installed: {error.name} | |"
            continue
        yield f"| {work} | {took / one:.1f} | {lacks} |"
    with tempfile.TemporaryDirectory() as folder:
        took = model.seconds_a_sentence(Path(folder), 200, workers=1)
    yield f"| gradtrace: every parameter's path, stored, one process | {took / one:.1f} | causal effects |"


def main() -> None:
    """Print the table."""
    sys.stdout.write(
        f"{machine()}\n\n| asked of one sentence of {TOKENS} tokens | in steps | does not give |\n|---|---|---|\n"
    )
    for line in rows():
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
