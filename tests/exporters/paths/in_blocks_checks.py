"""The best edges in blocks held against the plain ones, for any recording."""

from __future__ import annotations

import numpy as np
import pytest

from gradtrace.exporters.paths import in_blocks
from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.in_blocks import EdgeRows, EdgesInBlocks
from gradtrace.exporters.recording.parameter_groups import partition
from gradtrace.exporters.recording.recorder import Recording

from .counted_checks import counts

SIZES = [(1, 0), (7, 0), (64, 12), (1 << 20, 0), (1 << 20, 1 << 12)]  # of a block and of what is not worth one


def assert_blocks_are_plain(recording: Recording, keep: int) -> None:
    """Bit for bit, with blocks and matrices of any size."""
    n, group_of = recording.n_parameters, partition(recording).group_of
    plain = best_edges(recording, keep)
    row = np.arange(n)
    wanted = EdgeRows(*recording.kernels.edge_rows(row, row, plain.target, plain.slot, plain.derivative))
    present = np.flatnonzero(plain.target[:n, 0] >= 0)
    sizes = np.abs(recording.gradients[present], dtype=np.float64)
    traced = plain.traced(present)
    of_traced = counts(group_of[present], traced, np.ones(len(present), int), np.where(traced < 0, 0.0, sizes))
    for block, small in SIZES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(in_blocks, "BLOCK", block)
            patch.setattr(in_blocks, "SMALL", small)
            found = EdgesInBlocks(recording, keep, group_of)
            blocks = list(found.of_parameters())
        for got, want in zip(zip(*blocks, strict=True), wanted, strict=True):
            column = np.concatenate(got)
            assert column.dtype == want.dtype
            np.testing.assert_array_equal(column, want)
        assert found.activations.vertex is not None
        assert found.activations.vertex.tolist() == list(range(n, recording.n_vertices))
        for name in ("target", "slot", "derivative", "score"):
            np.testing.assert_array_equal(getattr(found.activations, name), getattr(plain, name)[n:])
        c = found.counted()
        weight = np.where(c.target < 0, 0.0, c.weight)
        assert counts(c.group, c.target, c.paths, weight) == of_traced
