"""How a dump's cost grows with tokens, units, layers and samples: exponents fitted to the time of one sentence.

    python tests/benchmarks/growth.py

Prints a Markdown table: what is doubled, the time at each size, and the exponent p of time ~ size^p, beside
that of a step of torch's own forward and backward.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from measuring import Subject, machine, random_sentence, subject

from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump.dump import Task
from gradtrace.pipeline.zoo import family, make_hyperparameters

REPEATS = 5
WORDS = 1_000


class Growth(NamedTuple):
    """One line of the table: seconds of a sentence and of a step at each size."""

    name: str
    sizes: Sequence[int]
    measure: Callable[[int], tuple[float, float]]


def of_model(name: str, tokens: int, hyperparameters: dict[str, object]) -> tuple[float, float]:
    """A sentence recorded, traced and written, and a step."""
    torch.manual_seed(0)
    module = family(name).build(WORDS, make_hyperparameters(name, hyperparameters))
    measured = subject(name, module, random_sentence(WORDS, tokens))
    return written(measured, REPEATS) / REPEATS, measured.step


def written(measured: Subject, n: int) -> float:
    """Seconds of n sentences behind the first two."""
    ticks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        study = measured.study(Path(folder) / "store", Settings("study"), n + 2)
        study.make(Task(range(n + 2), {}), lambda _: ticks.append(time.perf_counter()))
        ticks.append(time.perf_counter())
    return ticks[-1] - ticks[1]


def lstm(units: int = 100, layers: int = 1, tokens: int = 20) -> tuple[float, float]:
    """An LSTM."""
    return of_model("lstm_lm", tokens, {"embedding_size": units, "hidden_size": units, "layers": layers})


def transformer(tokens: int = 20, layers: int = 2) -> tuple[float, float]:
    """A transformer."""
    return of_model("transformer_lm", tokens, {"layers": layers})


def samples(n: int) -> tuple[float, float]:
    """So many sentences of a small LSTM in one shard."""
    torch.manual_seed(0)
    measured = subject(
        "LSTM", family("lstm_lm").build(WORDS, make_hyperparameters("lstm_lm", {})), random_sentence(WORDS, 20)
    )
    return written(measured, n), measured.step * n


ROWS = [
    Growth("tokens, LSTM", (10, 20, 40, 80), lambda n: lstm(tokens=n)),
    Growth("tokens, transformer", (10, 20, 40, 80), lambda n: transformer(tokens=n)),
    Growth("units, LSTM", (100, 200, 400, 800), lambda n: lstm(units=n)),
    Growth("layers, LSTM", (1, 2, 4, 8), lambda n: lstm(layers=n)),
    Growth("layers, transformer", (1, 2, 4, 8), lambda n: transformer(layers=n)),
    Growth("samples", (8, 16, 32, 64), samples),
]


def exponent(sizes: Sequence[int], took: Sequence[float]) -> float:
    """The slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(took), 1)[0])


def main() -> None:
    """Print the table."""
    sys.stdout.write(
        f"{machine()}\n\n| growing | sizes | ms of a dump | exponent | a step's |\n|---|---|---|---|---|\n"
    )
    for name, sizes, measure in ROWS:
        dumped, steps = zip(*map(measure, sizes), strict=True)
        each = ", ".join(f"{seconds * 1e3:.0f}" for seconds in dumped)
        fits = f"{exponent(sizes, dumped):.2f} | {exponent(sizes, steps):.2f}"
        sys.stdout.write(f"| {name} | {', '.join(map(str, sizes))} | {each} | {fits} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
