"""A fuzzer: random modules, traced, against the oracle's scalars. `python -m tests.fuzz --seconds 600 --seed 1`.

Each module is exported once and recorded with several weights, half of them on a grid where kinks, ties and zeros are
many. Compared are the loss, every gradient, every edge with its derivative, the greedy, product and soft traces, and
what a second sample that follows the plan of the first finds.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel

from . import oracle
from .exporters.paths.counted_checks import assert_counted_is_plain
from .exporters.paths.enumerated import Enumerated
from .exporters.paths.method_checks import check_best_edges, check_soft_traces, partitions
from .exporters.tape.replays import afresh, check_equal
from .exporters.taped import all_edges
from .fuzz_steps import STEPS, N, Rows, total_of, undecided
from .oracle import Scalar, ScalarGraph, value

LARGEST = 1e4  # of values and gradients: beyond it rounding is all that differs
WEIGHTS = 4  # of each module
GRID = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 6.0)

Program = list[tuple[str, int, int]]  # step and its two operands, counted back from the newest value
Weights = list[NDArray[np.float64]]
Edges = dict[tuple[int, int, int], float]  # (src, dst, slot) -> derivative


class Random(nn.Module):
    """The steps of a program on two parameters; the loss is the sum of all values, times the number 1."""

    def __init__(self, program: Program, weights: Weights) -> None:
        super().__init__()
        self.program = program
        self.p0, self.p1 = (nn.Parameter(torch.from_numpy(numbers)) for numbers in weights)

    def forward(self, one: Tensor) -> Tensor:
        values: list[Tensor] = [self.p0, self.p1]
        for name, x, y in self.program:
            values.append(STEPS[name].torch(values[-1 - x], values[-1 - y]))
        total = values[-1].sum()
        for other in values[:-1]:
            total = total + other.sum()
        return total * one.sum()


def random_program(generator: random.Random) -> Program:
    """Up to 6 steps."""
    names = generator.choices(sorted(STEPS), k=generator.randint(1, 6))
    return [(name, generator.randint(0, min(i + 1, 2)), generator.randint(0, i + 1)) for i, name in enumerate(names)]


def random_weights(generator: random.Random, *, on_grid: bool) -> Weights:
    """For the two parameters."""
    draw = (lambda: generator.choice(GRID)) if on_grid else (lambda: generator.gauss(0, 1.5))
    return [np.array([draw() for _ in range(N * N)]).reshape(N, N) for _ in range(2)]


def scalars(program: Program, weights: Weights) -> ScalarGraph:
    """The same by the oracle."""
    graph = ScalarGraph({f"p{i}": numbers for i, numbers in enumerate(weights)})
    values: list[Rows] = [[list(row) for row in graph.matrix(f"p{i}")] for i in range(2)]
    for name, x, y in program:
        values.append(STEPS[name].scalars(graph, values[-1 - x], values[-1 - y]))
    total = _sum(graph, values[-1])
    for other in values[:-1]:
        total = oracle.add(graph, [total], [_sum(graph, other)])[0]
    oracle.mul(graph, [total], [1.0])
    graph.backward()
    return graph


def _sum(graph: ScalarGraph, rows: Rows) -> Scalar:
    found: Scalar = total_of(graph, [[s for row in rows for s in row]])[0]
    return found


@dataclass
class Found:
    """What a run of the fuzzer saw. skipped: recordings whose numbers are too large, or on no side of a kink"""

    modules: int = 0
    recordings: int = 0
    vertices: int = 0
    edges: int = 0
    skipped: int = 0
    failures: int = 0


def check(recording: Recording, graph: ScalarGraph) -> None:
    """Everything that is compared."""
    size = max(1.0, *(abs(v.gradient) for v in graph.vertices))
    np.testing.assert_allclose(recording.loss, graph.loss, rtol=1e-9, atol=1e-9)
    assert recording.n_vertices == graph.n_vertices
    wanted = [v.gradient for v in graph.vertices]
    np.testing.assert_allclose(recording.gradients, wanted, rtol=1e-7, atol=1e-9 * size)
    np.testing.assert_allclose(recording.values, [v.value for v in graph.vertices], rtol=1e-7, atol=1e-9 * size)
    found, scalar = edges_of(recording), _merged(graph)
    assert found.keys() == scalar.keys()
    np.testing.assert_allclose(list(found.values()), [scalar[key] for key in found], rtol=1e-7, atol=1e-9)
    assert conservation_error(recording) < 1e-9
    own = Enumerated.of(recording)
    check_greedy(recording, own)
    check_best_edges(recording, own, "product", keeps=(1, 3))
    check_best_edges(recording, own, "soft", keeps=(2,))
    check_soft_traces(recording, own, *partitions(recording, seed=0))


def edges_of(recording: Recording) -> Edges:
    """Every edge of a recording."""
    e = all_edges(recording)
    keys = zip(e.src.tolist(), e.dst.tolist(), e.slot.tolist(), strict=True)
    return dict(zip(keys, e.derivative.tolist(), strict=True))


def _merged(graph: ScalarGraph) -> Edges:
    """The oracle reads a vertex that stands twice in one operand twice; it is one edge with the sum."""
    found: Edges = {}
    for edge in graph.edges:
        key = edge.src, edge.dst, edge.slot
        found[key] = found.get(key, 0.0) + edge.derivative
    return found


def check_greedy(recording: Recording, graph: Enumerated) -> None:
    """The best edges by |gradient of the target * derivative|, rounded as stored; ties in order."""
    best = best_edges(recording, 2)
    for vertex, leaving in enumerate(graph.leaving):
        ranked = sorted(leaving, key=lambda e: -abs(graph.gradient[e.dst] * e.derivative))[:2]  # stable
        wanted = [(e.dst, e.slot) for e in ranked]
        found = list(zip(best.target[vertex].tolist(), best.slot[vertex].tolist(), strict=True))[: len(wanted)]
        assert found == wanted, (vertex, found, wanted)


def check_replay(traced: TorchModel) -> None:
    """A sample that follows another one's plan, and its sweep that counts parameters, against the plain ones."""
    inputs = {"one": torch.full((1, 1), 2, dtype=torch.int64)}
    (recorder,) = traced._recorders
    assert sum(map(len, recorder._plans._plans.values())) == 1
    replayed = recorder.record(inputs)
    assert_counted_is_plain(replayed, recorder.record(inputs, parameter_gradients=False))
    check_equal(replayed, afresh(recorder, inputs, 0))


def fuzz(seconds: float, seed: int, most: int = sys.maxsize) -> Found:
    """Random modules until the time is over; writes out what fails."""
    found, end = Found(), time.monotonic() + seconds
    for number in range(most):
        if time.monotonic() > end:
            break
        generator = random.Random(f"{seed} {number}")
        _fuzz_module(random_program(generator), generator, found)
    return found


def _fuzz_module(program: Program, generator: random.Random, found: Found) -> None:
    traced: TorchModel | None = None
    for i in range(WEIGHTS):
        weights = random_weights(generator, on_grid=i % 2 == 0)
        undecided.clear()
        try:
            graph = scalars(program, weights)
        except (OverflowError, ZeroDivisionError):
            found.skipped += 1
            continue
        largest = max(max(abs(v.gradient), abs(value(v))) for v in graph.vertices)
        if undecided or not largest < LARGEST:
            found.skipped += 1
            continue
        try:
            if traced is None:
                traced = TorchModel(Random(program, weights), torch.float64)
                found.modules += 1
            else:
                traced.load({f"p{p}": torch.from_numpy(w) for p, w in enumerate(weights)}, "the fuzzer")
            recording = traced.record({"one": torch.ones(1, 1, dtype=torch.int64)})
            check(recording, graph)
            check_replay(traced)
        except Exception:
            found.failures += 1
            numbers = [w.tolist() for w in weights]
            sys.stdout.write(f"FAILED {program!r}\n{numbers!r}\n{traceback.format_exc(limit=3)}\n")
            continue
        found.recordings += 1
        found.vertices += recording.n_vertices
        found.edges += len(graph.edges)


def main() -> None:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    found = fuzz(asked.seconds, asked.seed)
    sys.stdout.write(f"{found}\n")
    sys.exit(1 if found.failures else 0)


if __name__ == "__main__":
    main()
