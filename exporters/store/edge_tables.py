"""Every edge of a recording as rows of `edges`, `edge_matrices` and `matrix_derivatives`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..edges.blocks import EdgeBlock
from ..edges.matrix_runs import Runs
from .tables import constant

Floats = NDArray[Any]

_NUMBERS = 1 << 20  # derivatives of matrices in memory at a time, for one row of a matrix is never cut


def edge_table(edges: EdgeBlock, sample: int) -> pa.Table:
    """`edges`: one block of edges."""
    return pa.table(
        {
            "sample": constant(sample, len(edges.src), pa.int64()),
            "src": edges.src,
            "dst": edges.dst,
            "slot": edges.slot,
            "derivative": edges.derivative,
        }
    )


def run_table(runs: Runs, sample: int) -> pa.Table:
    """`edge_matrices`: all runs of a sample."""
    return pa.table({"sample": constant(sample, len(runs.src), pa.int64()), **runs._asdict()})


def derivative_tables(matrices: Iterable[tuple[int, Floats]], sample: int) -> Iterator[pa.Table]:
    """`matrix_derivatives`, in blocks: a row for each row of the matrices, given with their numbers."""
    waiting: list[tuple[int, int, Floats]] = []
    for matrix, derivatives in matrices:
        rows = max(1, _NUMBERS // derivatives.shape[1])
        for first in range(0, len(derivatives), rows):
            waiting.append((matrix, first, derivatives[first : first + rows]))
            if sum(part.size for _, _, part in waiting) >= _NUMBERS:
                yield _derivative_table(waiting, sample)
                waiting = []
    if waiting:
        yield _derivative_table(waiting, sample)


def _derivative_table(parts: list[tuple[int, int, Floats]], sample: int) -> pa.Table:
    """parts: the number of a matrix, the first of its rows, and those rows"""
    sizes = [len(part) for _, _, part in parts]
    lengths = np.repeat([part.shape[1] for _, _, part in parts], sizes)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    flat = np.concatenate([part.reshape(-1) for _, _, part in parts])
    return pa.table(
        {
            "sample": constant(sample, len(lengths), pa.int64()),
            "matrix": np.repeat([matrix for matrix, _, _ in parts], sizes),
            "target": np.concatenate([np.arange(first, first + len(part)) for _, first, part in parts]),
            "derivatives": pa.ListArray.from_arrays(ends, flat),
        }
    )
