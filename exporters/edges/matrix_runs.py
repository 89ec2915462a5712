"""The matrices of contraction edges as a store keeps them: runs of sources and targets, and each distinct matrix once.

A row of a matrix, Y vertices that each lead to the same Z targets, is a few *runs*: evenly spaced elements of one
tensor. Every edge of a matrix is in one of its runs.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..recording.recorder import Recording
from ..tape.tape import Tape
from .matrix_uses import MatrixUse, matrix_uses

Floats = NDArray[Any]
Ints = NDArray[np.int64]


class Runs(NamedTuple):
    """R runs, each of `n_src` sources src, src + src_step, … and `n_dst` targets dst, dst + dst_step, …

    matrix: the number of the matrix that has, in row z and column first + y, the derivative of target z by source y
    """

    src: Ints
    src_step: Ints
    n_src: Ints
    dst: Ints
    dst_step: Ints
    n_dst: Ints
    slot: Ints
    matrix: Ints
    first: Ints


class EdgeMatrices(NamedTuple):
    """The matrices of a recording.

    runs: sorted by (src, dst, slot)     uses: of each matrix one, by its number     irregular: (call, slot) of operands
    in which a vertex stands twice, whose edges are no matrices
    """

    runs: Runs
    uses: dict[int, MatrixUse]
    irregular: list[tuple[int, int]]

    def derivatives(self, recording: Recording) -> Iterator[tuple[int, Floats]]:
        """Each matrix that a run has, Z x Y, and its number."""
        for matrix in np.unique(self.runs.matrix).tolist():
            yield matrix, self.uses[matrix].derivatives(recording.tape.log.values).contiguous().numpy()


class _Fixed(NamedTuple):
    """What all samples of a graph share. picked: uses whose vertices a sample chooses"""

    runs: Runs
    uses: dict[int, MatrixUse]
    number: dict[Hashable, int]
    starts: Ints
    picked: list[MatrixUse]


def edge_matrices(recording: Recording) -> EdgeMatrices:
    """The matrices of a recording; what its graph alone decides is found once."""
    tape = recording.tape
    fixed = tape.of_graph("runs of matrices", lambda: _fixed(recording))
    runs, irregular = fixed.runs, list(matrix_uses(tape).irregular)
    regular = []
    for use in fixed.picked:
        if not tape.repeats_one(tape.log.values[use.operand]):
            regular.append(use)
        elif use.b == 0:
            irregular.append((use.call, use.slot))
    if regular:
        runs = _sorted([runs, *_runs(tape, regular, fixed.number, fixed.starts)])
    return EdgeMatrices(runs, fixed.uses, irregular)


def _fixed(recording: Recording) -> _Fixed:
    tape = recording.tape
    number: dict[Hashable, int] = {}
    uses: dict[int, MatrixUse] = {}
    by_choice: tuple[list[MatrixUse], list[MatrixUse]] = [], []
    for use in matrix_uses(tape).uses:
        uses.setdefault(number.setdefault(use.same_derivatives, len(number)), use)
        by_choice[tape.log.values[use.operand].picked].append(use)
    starts = np.array([tensor.first_vertex for _, tensor in recording.vertex_tensors()], dtype=np.int64)
    regular, picked = by_choice
    return _Fixed(_sorted(_runs(tape, regular, number, starts)), uses, number, starts, picked)


def _runs(tape: Tape, uses: Sequence[MatrixUse], number: dict[Hashable, int], starts: Ints) -> list[Runs]:
    """Of each use. starts: the first vertices of all tensors"""
    found: list[Runs] = []
    of_vertices: dict[Hashable, SourceRuns] = {}
    for use in uses:
        if use.same_vertices not in of_vertices:
            of_vertices[use.same_vertices] = source_runs(use.vertex(tape.log.values), starts)
        sources = of_vertices[use.same_vertices]
        dst_step = use.stride_z if use.n_z > 1 else 1
        constants = dst_step, use.n_z, use.slot, number[use.same_derivatives]
        step, n, slot, matrix = (np.full(len(sources.src), constant) for constant in constants)
        dst = use.first + sources.row * use.stride_x
        found.append(Runs(sources.src, sources.step, sources.n, dst, step, n, slot, matrix, sources.first))
    return found


def _sorted(parts: Sequence[Runs]) -> Runs:
    none = np.empty(0, np.int64)
    joined = (
        Runs(*(np.concatenate([none, *columns]) for columns in zip(*parts, strict=True)))
        if parts
        else Runs(*[none] * 9)
    )
    order = np.lexsort((joined.slot, joined.dst, joined.src))
    return Runs(*(column[order] for column in joined))


class SourceRuns(NamedTuple):
    """R runs of the rows of a matrix of vertices: row, place of the first source, that, the step and the number."""

    row: Ints
    first: Ints
    src: Ints
    step: Ints
    n: Ints


def source_runs(vertex: Ints, starts: Ints) -> SourceRuns:
    """The rows of a matrix, X x Y with -1 for constants, cut where the commonest step or the tensor ends.

    starts: the first vertices of all tensors, ascending
    """
    step = np.diff(vertex, axis=1)
    commonest = _commonest(step)
    tensor = np.searchsorted(starts, vertex, "right")
    begins = np.ones(vertex.shape, dtype=bool)
    begins[:, 1:] = (step != commonest) | (np.diff(tensor, axis=1) != 0)
    at = np.flatnonzero(begins)
    n = np.diff(at, append=vertex.size)
    src = vertex.reshape(-1)[at]
    real = src >= 0
    row, first = np.divmod(at[real], vertex.shape[1])
    return SourceRuns(row, first, src[real], np.where(n[real] == 1, 1, commonest), n[real])


def _commonest(step: Ints) -> int:
    if step.size == 0:
        return 1
    found, count = np.unique(step, return_counts=True)
    return int(found[count.argmax()])
