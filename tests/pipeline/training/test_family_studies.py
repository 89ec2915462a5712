"""The sweep of detail `study`, which counts parameters without a row for each, gives what the plain sweep gives."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.counted import study_edges
from gradtrace.exporters.recording.parameter_groups import partition
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.store.tables import index_graph, node_gradient_table

from .families import CASES, IDS, alike, trial

# each family once, and tied weights, which are in more than one matrix
CHOSEN = [
    i for i, (name, values) in enumerate(CASES) if name not in [n for n, _ in CASES[:i]] or values.get("tied", False)
]


@cache
def recordings(case: int, dtype: torch.dtype) -> tuple[Recording, Recording]:
    """One sample, with the gradients of parameters and without."""
    name, values = CASES[case]
    tried = trial(name, values)
    encoded = tried.encode(alike(tried)[0])
    model = TorchModel(tried.model.to(dtype), dtype)
    given = encoded.inputs, len(encoded.tokens), encoded.first_token
    full = model.record(*given)
    return full, model.record(*given, parameter_gradients=False)


def counts(group: Any, target: Any, paths: Any, weight: Any) -> dict[tuple[int, int], tuple[int, float]]:
    """Parameters and the sum of their |gradient| by group and target."""
    found: dict[tuple[int, int], tuple[int, float]] = {}
    for g, t, n, w in zip(group.tolist(), target.tolist(), paths.tolist(), weight.tolist(), strict=True):
        if n:
            before = found.get((g, t), (0, 0.0))
            found[g, t] = before[0] + n, before[1] + w
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", CHOSEN, ids=[IDS[i] for i in CHOSEN])
def test_the_same_as_the_plain_sweep(case: int) -> None:
    full, recording = recordings(case, torch.float64)
    n, group_of = full.n_parameters, partition(full).group_of
    plain = best_edges(full, 2)
    best, counted = study_edges(recording, 2, group_of)
    assert not recording.has_parameter_gradients
    assert best.first == n
    for column in ("target", "slot", "derivative", "score"):
        np.testing.assert_array_equal(getattr(best, column), getattr(plain, column)[n:])
    present = plain.target[:n, 0] >= 0
    alive = np.where(plain.dead(slice(n)), -1, plain.target[:n, 0])[present]
    sizes: NDArray[np.float64] = np.where(alive >= 0, np.abs(full.gradients[:n])[present], 0.0)
    wanted = counts(group_of[present], alive, np.ones(len(alive), int), sizes)
    found = counts(counted.group, counted.target, counted.paths, counted.weight)
    assert {key: value[0] for key, value in found.items()} == {key: value[0] for key, value in wanted.items()}
    of_traced = [key for key in wanted if key[1] >= 0]
    assert [found[key][1] for key in of_traced] == pytest.approx([wanted[key][1] for key in of_traced], rel=1e-9)


@pytest.mark.parametrize("case", CHOSEN[:4], ids=[IDS[i] for i in CHOSEN[:4]])
def test_norms_of_gradients(case: int) -> None:
    full, recording = recordings(case, torch.float64)
    _, counted = study_edges(recording, 1, partition(full).group_of)
    index = index_graph(full, 0)
    tables = node_gradient_table(full, index, 0), node_gradient_table(recording, index, 0, counted.norms)
    for i, (number, tensor) in enumerate(full.vertex_tensors()):
        assert tensor.first_vertex is not None
        span = slice(tensor.first_vertex, tensor.first_vertex + tensor.size)
        wanted: dict[str, float] = {"n": tensor.size, "tensor": number}
        for name, numbers in (("value", full.values[span]), ("gradient", full.gradients[span])):
            wanted[f"{name}_l1"] = np.abs(numbers).sum()
            wanted[f"{name}_l2"] = np.sqrt((numbers**2).sum())
            wanted[f"{name}_max"] = np.abs(numbers).max()
            wanted[f"{name}_zeros"] = np.mean(numbers == 0)
        for table in tables:
            row = table.slice(i, 1).to_pylist()[0]
            assert {key: row[key] for key in wanted} == pytest.approx(wanted, rel=1e-9), tensor.name
