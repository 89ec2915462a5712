"""The counted sweep held against the plain one, for any recording."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.counted import study_edges
from gradtrace.exporters.recording.parameter_groups import partition
from gradtrace.exporters.recording.recorder import Recording


def counts(group: Any, target: Any, paths: Any, weight: Any) -> dict[tuple[int, int], tuple[int, float]]:
    """Parameters and the sum of their |gradient| by group and target."""
    found: dict[tuple[int, int], tuple[int, float]] = {}
    for g, t, n, w in zip(group.tolist(), target.tolist(), paths.tolist(), weight.tolist(), strict=True):
        if n:
            before = found.get((g, t), (0, 0.0))
            found[g, t] = before[0] + n, before[1] + w
    return found


def visited(traced: NDArray[np.int64], entries: set[int]) -> list[int]:
    """The vertices on the paths from `entries`, path by path, in ascending order."""
    found = set()
    for entry in entries:
        vertex = entry
        while vertex >= 0 and vertex not in found:
            found.add(vertex)
            vertex = int(traced[vertex])
    return sorted(found)


def assert_counted_is_plain(full: Recording, recording: Recording) -> None:
    """full: with the gradients of parameters; recording: of the same sample, without."""
    n, group_of = full.n_parameters, partition(full).group_of
    plain = best_edges(full, 2)
    best, counted = study_edges(recording, 2, group_of)
    assert not recording.has_parameter_gradients
    present = plain.target[:n, 0] >= 0
    alive = plain.traced(slice(n))[present]
    assert best.vertex is not None
    assert best.vertex.tolist() == visited(plain.traced(), set(alive.tolist()) - {-1})
    for column in ("target", "slot", "derivative", "score"):
        np.testing.assert_array_equal(getattr(best, column), getattr(plain, column)[best.vertex])
    sizes: NDArray[np.float64] = np.where(alive >= 0, np.abs(full.gradients[:n])[present], 0.0)
    wanted = counts(group_of[present], alive, np.ones(len(alive), int), sizes)
    found = counts(counted.group, counted.target, counted.paths, counted.weight)
    assert {key: value[0] for key, value in found.items()} == {key: value[0] for key, value in wanted.items()}
    of_traced = [key for key in wanted if key[1] >= 0]
    assert [found[key][1] for key in of_traced] == pytest.approx([wanted[key][1] for key in of_traced], rel=1e-9)
