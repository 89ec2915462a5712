"""The sweep of detail `study`, which counts parameters without a row for each, gives what the plain sweep gives."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from gradtrace.exporters.paths.counted import study_edges
from gradtrace.exporters.recording.parameter_groups import partition
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.store.rows import as_table
from gradtrace.exporters.store.tables import node_gradient_rows

from ...exporters.paths.counted_checks import assert_counted_is_plain
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


@pytest.mark.slow
@pytest.mark.parametrize("case", CHOSEN, ids=[IDS[i] for i in CHOSEN])
def test_the_same_as_the_plain_sweep(case: int) -> None:
    assert_counted_is_plain(*recordings(case, torch.float64))


@pytest.mark.parametrize("case", CHOSEN[:4], ids=[IDS[i] for i in CHOSEN[:4]])
def test_norms_of_gradients(case: int) -> None:
    full, recording = recordings(case, torch.float64)
    _, counted = study_edges(recording, 1, partition(full).group_of)
    made = node_gradient_rows(full, 0), node_gradient_rows(recording, 0, counted.norms)
    tables = [as_table([rows]) for rows in made]
    for i, (number, tensor) in enumerate(full.vertex_tensors()):
        assert tensor.first_vertex is not None
        span = slice(tensor.first_vertex, tensor.first_vertex + tensor.size)
        wanted: dict[str, float] = {"tensor": number}
        for name, numbers in (("value", full.values[span]), ("gradient", full.gradients[span])):
            wanted[f"{name}_l1"] = np.abs(numbers).sum()
            wanted[f"{name}_l2"] = np.sqrt((numbers**2).sum())
            wanted[f"{name}_max"] = np.abs(numbers).max()
            wanted[f"{name}_zeros"] = np.mean(numbers == 0)
        for table in tables:
            row = table.slice(i, 1).to_pylist()[0]
            assert {key: row[key] for key in wanted} == pytest.approx(wanted, rel=1e-9), tensor.name
