"""Every family of the zoo, exported and recorded: conservation at every vertex, torch's own gradients, any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from families import CASES, IDS, Trial, trial

from exporters.edges import edge_blocks
from exporters.recorder import Recording
from exporters.traced_model import TorchModel

FIRST = [i for i, (name, _) in enumerate(CASES) if name not in [n for n, _ in CASES[:i]]]
OTHERS = [i for i in range(len(CASES)) if i not in FIRST]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def check(recording: Recording, module: torch.nn.Module, inputs: Any, tolerance: float) -> None:
    """Conservation by adding up every edge, relative to the sum of their sizes; gradients relative to the largest."""
    total, size = np.zeros(recording.n_vertices), np.zeros(recording.n_vertices)
    for edges in edge_blocks(recording):
        np.add.at(total, edges.src, edges.contribution.astype(np.float64))
        np.add.at(size, edges.src, np.abs(edges.contribution.astype(np.float64)))
    total[recording.loss_vertex] = size[recording.loss_vertex] = 1.0
    assert np.all(np.abs(total - recording.gradients) <= tolerance * size)
    parameters = dict(module.named_parameters())
    wanted = torch.autograd.grad(module(**inputs), list(parameters.values()), allow_unused=True)
    gradients = dict(zip(parameters, wanted, strict=True))
    found = [t for _, t in recording.vertex_tensors() if t.kind == "parameter"]
    assert len(found) >= 3
    largest = max(float(g.abs().max()) for g in wanted if g is not None)
    for tensor in found:
        assert tensor.first_vertex is not None
        flat = recording.gradients[tensor.first_vertex : tensor.first_vertex + tensor.size]
        gradient = gradients[tensor.name]
        assert gradient is not None
        assert np.abs(flat - gradient.reshape(-1).numpy()).max() <= tolerance * largest


def lengths(tried: Trial, n: int) -> list[str]:
    """Lines of n different lengths, not in order of length."""
    by_length = {len(tried.encode(line).tokens): line for line in tried.lines}
    assert len(by_length) >= n
    chosen = sorted(by_length)[:n]
    return [by_length[length] for length in (chosen[-1], *chosen[:-1])]


def recorded(case: int, dtype: torch.dtype, n_lengths: int) -> None:
    name, values = CASES[case]
    tried = trial(name, values)
    module = tried.model.to(dtype)
    model = TorchModel(module, dtype)
    for line in lengths(tried, n_lengths):
        encoded = tried.encode(line)
        recording = model.record(encoded.inputs, len(encoded.tokens), encoded.first_token)
        check(recording, module, encoded.inputs, TOLERANCE[dtype])


@pytest.mark.slow
@pytest.mark.parametrize("case", FIRST, ids=[IDS[i] for i in FIRST])
def test_three_lengths(case: int) -> None:
    recorded(case, torch.float64, 3)


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS, ids=[IDS[i] for i in OTHERS])
def test_every_choice(case: int) -> None:
    recorded(case, torch.float64, 1)


@pytest.mark.slow
@pytest.mark.parametrize("case", FIRST, ids=[IDS[i] for i in FIRST])
def test_float32(case: int) -> None:
    recorded(case, torch.float32, 1)


@pytest.mark.parametrize("name", ["lstm_lm", "transformer_lm"])
def test_a_batch_of_one_length_is_its_samples(name: str) -> None:
    """The loss is a mean over words, so that a batch of two has the mean of their gradients, each path at half size."""
    tried = trial(name, dict(CASES)[name])
    encoded = [tried.encode(line) for line in tried.lines]
    first = encoded[0]
    second = next(e for e in encoded[1:] if len(e.tokens) == len(first.tokens) and e.tokens != first.tokens)
    model = TorchModel(tried.model, torch.float64)
    alone = [model.record(e.inputs, len(e.tokens)) for e in (first, second)]
    joined = {key: torch.cat([first.inputs[key], second.inputs[key]]) for key in first.inputs}
    batch = model.record(joined, len(first.tokens))
    n = batch.n_parameters
    mean = (alone[0].gradients[:n] + alone[1].gradients[:n]) / 2
    assert batch.gradients[:n] == pytest.approx(mean, rel=1e-9, abs=1e-14)
    assert batch.loss == pytest.approx((alone[0].loss + alone[1].loss) / 2, rel=1e-12)
    assert batch.n_vertices - n == pytest.approx(2 * (alone[0].n_vertices - n), abs=1)  # one loss instead of two
    halves = np.sort(np.concatenate([r.gradients[n:-1] for r in alone]) / 2)
    assert np.sort(batch.gradients[n:-1]) == pytest.approx(halves, rel=1e-9, abs=1e-14)
