"""The best edges against sorting all edges, and the edges' own order, number and sums, on graphs full of ties."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from gradtrace.exporters.edges.blocks import count_edges, edge_blocks, total_edges
from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.kernels.cpu import CPU
from gradtrace.exporters.kernels.interface import NO_EDGE, Places
from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.tape.tape import Tape

from ..taped import all_edges, finish, leaf, operator_of, weighted_sum
from .random_graphs import STEPS, Program, build, programs

KEEP = (1, 2, 3, 5)


class Ranked(NamedTuple):
    """One edge, in the order in which edges of one vertex are ranked."""

    minus_size: float
    operator: int
    slot: int
    dst: int
    derivative: float


def ranked(recording: Recording) -> dict[int, list[Ranked]]:
    """Every vertex's edges, best first."""
    edges, operator = all_edges(recording), operator_of(recording)
    found: dict[int, list[Ranked]] = defaultdict(list)
    contributions = edges.contributions(recording.gradients)
    rows = zip(edges.src, edges.dst, edges.slot, edges.derivative, contributions, strict=True)
    for src, dst, slot, derivative, contribution in rows:
        found[int(src)].append(Ranked(-abs(contribution), int(operator[dst]), int(slot), int(dst), float(derivative)))
    return {vertex: sorted(edges) for vertex, edges in found.items()}


def check_best(recording: Recording, keep: int) -> None:
    wanted = ranked(recording)
    best = best_edges(recording, keep)
    for vertex in range(recording.n_vertices):
        edges = wanted.get(vertex, [])[:keep]
        n = len(edges)
        assert best.target[vertex].tolist() == [e.dst for e in edges] + [-1] * (keep - n)
        assert best.slot[vertex, :n].tolist() == [e.slot for e in edges]
        assert (-np.abs(best.score[vertex, :n])).tolist() == [e.minus_size for e in edges]
        found = best.derivative[vertex, :n]
        np.testing.assert_array_equal(best.score[vertex, :n], recording.gradients[best.target[vertex, :n]] * found)
        assert found.tolist() == [e.derivative for e in edges]


def check_edges(recording: Recording, blocks: tuple[int, ...]) -> None:
    edges, operator = all_edges(recording), operator_of(recording)
    assert len(edges.src) == total_edges(recording) == count_edges(recording).sum()
    assert (edges.src < edges.dst).all()
    order = np.lexsort((edges.dst, edges.slot, operator[edges.dst], edges.src))
    np.testing.assert_array_equal(order, np.arange(len(order)))
    assert len(set(zip(edges.src, edges.slot, edges.dst, strict=True))) == len(edges.src)
    for block in blocks:
        assert all(len(b.src) <= block or len(set(b.src)) == 1 for b in edge_blocks(recording, block))
        again = all_edges(recording, block)
        for column in ("src", "dst", "slot", "derivative"):
            np.testing.assert_array_equal(getattr(again, column), getattr(edges, column))
    tolerance = float(8 * np.finfo(recording.gradients.dtype).eps)
    assert conservation_error(recording) == pytest.approx(plain_conservation_error(recording), abs=tolerance)


def plain_conservation_error(recording: Recording) -> float:
    """By adding up the edges themselves."""
    edges = all_edges(recording)
    contributions = edges.contributions(recording.gradients)
    total = np.bincount(edges.src, contributions, recording.n_vertices)
    size = np.bincount(edges.src, np.abs(contributions), recording.n_vertices)
    difference = np.abs(total - recording.gradients)
    difference[recording.loss_vertex] = 0.0
    return float((difference[size > 0] / size[size > 0]).max(initial=0.0))


@settings(max_examples=40, deadline=None)
@given(programs())
def test_random_graphs(program: Program) -> None:
    recording = build(*program)
    check_edges(recording, (7,))
    for keep in KEEP:
        check_best(recording, keep)


SOME = [[1, -1, 2, 0, 1, 1, -2, 2, 0, 0, 1, -1, 2, 1, 1, -1], [0, 1, -1, 2, 2, 1, 0, 1, -1, 1, 2, -2, 1, 0, 1, 1]]


@pytest.mark.parametrize("name", sorted(STEPS))
@pytest.mark.parametrize("before", [[], [("mul", 0, 1)], [("rows", 0, 0)]], ids=["first", "after mul", "after rows"])
def test_every_step(name: str, before: list[tuple[str, int, int]]) -> None:
    recording = build([*before, (name, 0, 1), ("mul", 0, 1)], SOME)
    check_edges(recording, (1, 7))
    for keep in KEEP:
        check_best(recording, keep)


@pytest.mark.parametrize("changed", [3, 20, 40])
def test_a_wrong_gradient_is_seen_by_both_sums(changed: int) -> None:
    recording = build([("matmul", 0, 1), ("row sums", 0, 1), ("expanded", 0, 1)], SOME)
    assert plain_conservation_error(recording) < 1e-12
    recording.gradients[changed] += 1.0
    assert plain_conservation_error(recording) > 1e-3
    assert conservation_error(recording) == pytest.approx(plain_conservation_error(recording), rel=1e-12)


def test_a_shared_operand_has_edges_through_both_slots() -> None:
    recording = build([("square", 0, 1)], SOME)
    edges = all_edges(recording)
    first = edges.src == 16  # element 0 of the second parameter, the newest value
    assert edges.slot[first].tolist() == [0, 1, 1]  # twice into Mul, once into the loss's Add


def test_single_precision() -> None:
    """What is stored in float32 is ranked in float32: ties made by rounding too."""
    tape = Tape(torch.float32)
    generator = np.random.default_rng(0)
    a, b = leaf(tape, "a", generator.normal(size=(5, 6))), leaf(tape, "b", generator.normal(size=(6, 4)))
    y = tape("Tanh", tape("MatMul", tape("Mul", a, a), b))
    recording = finish(tape, weighted_sum(tape, y))
    assert recording.gradients.dtype == np.float32
    check_edges(recording, (1, 7))
    for keep in KEEP:
        check_best(recording, keep)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("keep", [1, 2, 4])
@pytest.mark.parametrize(("n_z", "n_y"), [(1, 5), (3, 5), (7, 300), (60, 300)])
def test_best_products(n_z: int, n_y: int, keep: int, dtype: type[np.floating]) -> None:
    """Sizes from tiny to huge, so that most targets need not be looked at, and ties everywhere."""
    generator = np.random.default_rng([n_z, keep])
    left = generator.integers(-2, 3, size=(n_z, 4)) * 2.0 ** generator.integers(-60, 30, size=(n_z, 1))
    right = generator.integers(-2, 3, size=(n_z, n_y)) * 2.0 ** generator.integers(-60, 30, size=(n_z, 1))
    left[:, 3] = generator.integers(-2, 3, size=n_z)
    right[:, n_y // 2 :] = generator.integers(-2, 3, size=(n_z, n_y - n_y // 2))
    left, right = left.astype(dtype), right.astype(dtype)
    size = np.abs(left[:, :, None] * right[:, None, :])  # Z x X x Y
    order = np.argsort(-size, axis=0, kind="stable")[:keep]  # the smallest z first among equals
    wanted = np.full((4, keep, n_y), -1)
    wanted[:, : len(order)] = order.transpose(1, 0, 2)
    largest = CPU.largest_of_rows(right)
    np.testing.assert_array_equal(largest, np.abs(right).max(axis=1))
    np.testing.assert_array_equal(CPU.best_products(left, right, largest, keep), wanted)


def test_insertion_does_not_depend_on_the_order() -> None:
    generator = np.random.default_rng(5)
    n = 60
    vertex, rank = generator.integers(-1, 4, n), np.abs(generator.integers(-2, 3, n)).astype(np.float64)
    derivative, key = generator.choice([-1.0, 1.0], n), generator.permutation(n)
    score = np.empty(n)
    score[key] = rank

    def table(order: Any) -> list[list[tuple[float, float, int]]]:
        shape = (4, 3)
        places = Places(np.zeros(shape), np.zeros(shape), np.full(shape, NO_EDGE))
        CPU.insert_pairs(places, vertex[order], score, key[order], derivative[order], 0)
        return [list(zip(*(x[v].tolist() for x in places), strict=True)) for v in range(4)]

    rows = list(zip(vertex, rank, derivative, key, strict=True))
    wanted = [sorted(((r, d, k) for v, r, d, k in rows if v == at), key=lambda e: (-e[0], e[2]))[:3] for at in range(4)]
    for _ in range(5):
        assert table(generator.permutation(n)) == wanted
