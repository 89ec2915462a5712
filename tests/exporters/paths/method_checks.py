"""Every method on one recording against what plain Python finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.best_table import BestEdges
from gradtrace.exporters.paths.path_sums import contribution_spread, path_statistics
from gradtrace.exporters.paths.soft import soft_traces
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.queries.walk.path_counts import Links, Places, Spans

from ..taped import operator_of
from .enumerated import NOTHING, Enumerated, Expected, Ranked, Spread, Statistics, log2

Floats = NDArray[np.float64]

KEEP = (1, 2, 3)
FEW = 400  # paths of one vertex that are looked at one by one
LEAST = 1e-290  # of a mass
CLOSE = 1e-9  # in log2 and bits


def close(found: float, wanted: float, tolerance: float = CLOSE) -> bool:
    """Absolute, for logarithms; infinities must be equal."""
    return bool(found == wanted or abs(found - wanted) <= tolerance)  # inf - inf is nan, which is not close


def check_methods(recording: Recording, tolerance: float = CLOSE) -> None:
    """All methods at every vertex: path by path where they are few, else by recursion."""
    graph = Enumerated.of(recording)
    check_best_edges(recording, graph, "product", tolerance)
    check_best_edges(recording, graph, "soft", tolerance)
    check_contributions(recording, graph)
    check_statistics(recording, graph)
    check_soft_traces(recording, graph, *partitions(recording, seed=0))


# Best edges


def check_best_edges(
    recording: Recording, graph: Enumerated, method: str, tolerance: float = CLOSE, keeps: tuple[int, ...] = KEEP
) -> None:
    """Targets, slots, derivatives, scores and what carries nothing, of every vertex for several K."""
    exact = method == "product" and graph.is_small
    by_recursion = graph.all_ranked(method)
    for keep in keeps:
        best = best_edges(recording, keep, method)
        assert best.method == method
        assert len(best.target) == len(graph.leaving)
        for vertex, recursive in enumerate(by_recursion):
            few = keep == keeps[-1] and graph.n_paths[vertex] <= FEW
            check_vertex(best, vertex, graph.ranked(vertex, method) if few else recursive, tolerance, exact)


def check_vertex(
    best: BestEdges, vertex: int, wanted: list[Ranked], tolerance: float = CLOSE, exact: bool = False
) -> None:
    """One vertex's K places. Equal scores must be in tie order, unless they may differ by rounding (exact: never)."""
    keep = best.target.shape[1]
    n = min(keep, len(wanted))
    assert best.target[vertex, n:].tolist() == [-1] * (keep - n)
    scores = best.score[vertex].tolist()
    assert scores[n:] == [NOTHING] * (keep - n)
    assert all(close(score, row.score, tolerance) for score, row in zip(scores, wanted, strict=False)), vertex
    assert best.dead(slice(vertex, vertex + 1)).tolist() == [scores[0] == NOTHING]
    found = list(zip(best.target[vertex, :n].tolist(), best.slot[vertex, :n].tolist(), strict=True))
    assert len(set(found)) == n
    of_edge = {(row.edge.dst, row.edge.slot): row for row in wanted}
    for place, key in enumerate(found):
        assert best.derivative[vertex, place] == of_edge[key].edge.derivative
        assert close(of_edge[key].score, scores[place], tolerance)
    certain = [exact or row.score == NOTHING for row in wanted[:n]]
    for place in range(n):
        if certain[place]:
            assert found[place] == (wanted[place].edge.dst, wanted[place].edge.slot), (vertex, place)


# Spreads


def same_spread(found: tuple[float, float], wanted: Spread, tolerance: float = CLOSE) -> bool:
    """Both numbers; the entropy of nothing is 0."""
    return all(close(a, b, tolerance) for a, b in zip(found, wanted, strict=True))


def check_contributions(recording: Recording, graph: Enumerated) -> None:
    """The spread of every vertex's contributions."""
    found = contribution_spread(recording)
    for vertex in range(len(graph.leaving)):
        assert same_spread((found.log2_sum[vertex], found.entropy[vertex]), graph.contributions(vertex)), vertex


def check_statistics(recording: Recording, graph: Enumerated, tolerance: float = CLOSE) -> None:
    """The statistics of every vertex's paths."""
    found = path_statistics(recording)
    for vertex, recursive in enumerate(graph.all_statistics()):
        wanted = graph.statistics(vertex) if graph.n_paths[vertex] <= FEW else recursive
        here = Statistics(
            found.log2_paths[vertex],
            Spread(found.products.log2_sum[vertex], found.products.entropy[vertex]),
            found.log2_positive[vertex],
            found.log2_negative[vertex],
        )
        check_same_statistics(here, wanted, tolerance)
        assert close(here.log2_paths, log2(graph.n_paths[vertex]))


def check_same_statistics(found: Statistics, wanted: Statistics, tolerance: float = CLOSE) -> None:
    """Number by number."""
    assert close(found.log2_paths, wanted.log2_paths, tolerance)
    assert same_spread(found.products, wanted.products, tolerance), (found, wanted)
    assert close(found.log2_positive, wanted.log2_positive, tolerance)
    assert close(found.log2_negative, wanted.log2_negative, tolerance)


# Soft traces


def partitions(recording: Recording, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Random groups of parameters, components of operators (copies: -1) and tokens of vertices (-1: none)."""
    generator = np.random.default_rng(seed)
    group_of = generator.integers(0, 3, recording.n_parameters)
    component_of = generator.integers(0, 4, len(recording.tape.calls))
    copies = [call.primitive.kind == "copies" for call in recording.tape.calls]
    step_of = generator.integers(-2, 4, recording.n_vertices)
    return group_of.tolist(), np.where(copies, -1, component_of).tolist(), np.maximum(step_of, -1).tolist()


def places(recording: Recording, component_of: Sequence[int], step_of: Sequence[int]) -> Places:
    """Of the activations, with a component and a token more than there are."""
    node = operator_of(recording)[recording.n_parameters :].astype(np.int32)
    step = np.array(step_of[recording.n_parameters :], np.int32)
    return Places(node, step, np.array(component_of, np.int32), max(component_of) + 2, max(step_of) + 2)


def check_soft_traces(
    recording: Recording,
    graph: Enumerated,
    group_of: Sequence[int],
    component_of: Sequence[int],
    step_of: Sequence[int],
    rtol: float = CLOSE,
) -> None:
    """Entries, edges, links, spans, path counts, traced parameters; path by path where all of them are few."""
    few = sum(graph.n_paths[: len(group_of)]) <= 10 * FEW
    n_groups = max(group_of) + 2  # the last is empty
    expect: Callable[[Sequence[int], Sequence[int], Sequence[int]], Expected] = (
        graph.expected if few else graph.all_expected
    )
    wanted = expect(group_of, component_of, step_of)
    found = soft_traces(recording, np.array(group_of, np.int32), n_groups, places(recording, component_of, step_of))
    pairs = [
        (found.edges, wanted.edges[0]),
        (found.weighted_edges, wanted.edges[1]),
        (found.paths, wanted.paths[0]),
        (found.weighted_paths, wanted.paths[1]),
        (found.traced, wanted.traced[0]),
        (found.traced_weight, wanted.traced[1]),
        *zip(*aligned_links(found.links, wanted.links), strict=True),
        *zip(dense_spans(found.spans, n_groups, max(step_of) + 2), wanted.spans, strict=True),
    ]
    for array, expected in pairs:
        padded = np.zeros(array.shape)
        padded[tuple(slice(0, n) for n in expected.shape)] = expected
        np.testing.assert_allclose(array, padded, rtol=rtol, atol=LEAST)
    check_entries(entries_of(recording, found.entries), wanted.entries, rtol)


def aligned_links(links: Links, wanted: dict[tuple[int, int], Floats]) -> tuple[Floats, Floats]:
    """Two 2 x G x L, plain and weighted, over all links that either side has. The found ones are in order."""
    keys = list(zip(links.from_node.tolist(), links.to_node.tolist(), strict=True))
    assert keys == sorted(set(keys))
    every = sorted({*keys, *wanted})
    found, expected = np.zeros((2, 2, len(links.edges), len(every)))
    found[..., [every.index(key) for key in keys]] = links.edges, links.weighted_edges
    for i, key in enumerate(every):
        if key in wanted:
            expected[:, : wanted[key].shape[1], i] = wanted[key]
    return found, expected


def dense_spans(spans: Spans, n_groups: int, n_steps: int) -> Floats:
    """2 x G x S + 1 x S + 1, plain and weighted; the rows are in order, none of them empty."""
    found = np.zeros((2, n_groups, n_steps + 1, n_steps + 1))
    found[:, spans.group, spans.entry_step + 1, spans.end_step + 1] = spans.paths, spans.weighted_paths
    keys = list(zip(spans.group.tolist(), spans.entry_step.tolist(), spans.end_step.tolist(), strict=True))
    assert keys == sorted(set(keys))
    assert (spans.paths > 0).all()
    return found


def entries_of(recording: Recording, entries: dict) -> dict[tuple[int, int], tuple[float, float]]:  # type: ignore[type-arg]
    """By (group, vertex); masses near the end of float64's range are left out."""
    found = {}
    for (group, order), entering in entries.items():
        first = recording.tape.calls[order].outputs.start
        assert len(entering.paths) == len(entering.weight) == recording.tape.calls[order].output.data.numel()
        for i in np.flatnonzero(entering.paths > LEAST):
            found[group, first + int(i)] = float(entering.paths[i]), float(entering.weight[i])
    return found


def check_entries(
    found: dict[tuple[int, int], tuple[float, float]],
    wanted: dict[tuple[int, int], tuple[float, float]],
    rtol: float,
) -> None:
    """The same places with the same masses."""
    keys = sorted(key for key, (mass, _) in wanted.items() if mass > LEAST)
    assert sorted(found) == keys
    np.testing.assert_allclose([found[k] for k in keys], [wanted[k] for k in keys], rtol=rtol, atol=LEAST)
