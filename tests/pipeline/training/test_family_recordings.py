"""Every family of the zoo, exported and recorded: conservation at every vertex, torch's own gradients, any length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gradtrace.exporters.edges.blocks import edge_blocks
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel

from .families import CASES, IDS, of_lengths, trial

FIRST = [i for i, (name, _) in enumerate(CASES) if name not in [n for n, _ in CASES[:i]]]
OTHERS = [i for i in range(len(CASES)) if i not in FIRST]
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def check(recording: Recording, module: torch.nn.Module, inputs: Any, tolerance: float) -> None:
    """Conservation by adding up every edge, relative to the sum of their sizes; gradients relative to the largest."""
    total, size = np.zeros(recording.n_vertices), np.zeros(recording.n_vertices)
    for edges in edge_blocks(recording):
        contributions = edges.contributions(recording.gradients).astype(np.float64)
        np.add.at(total, edges.src, contributions)
        np.add.at(size, edges.src, np.abs(contributions))
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


def recorded(case: int, dtype: torch.dtype, n_lengths: int) -> None:
    name, values = CASES[case]
    tried = trial(name, values)
    module = tried.model.to(dtype)
    model = TorchModel(module, dtype)
    for line in of_lengths(tried, n_lengths):
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
