"""Product, soft and the statistics of paths on small trained models, against the oracle's own graph of each."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch

from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.path_sums import contribution_spread, path_statistics
from gradtrace.exporters.paths.soft import soft_traces
from gradtrace.exporters.recording.recorder import Recording

from ..scalar_models import MODELS, Scalars, scalars
from .enumerated import Enumerated, Ranked, Spread, Statistics
from .method_checks import check_methods, check_same_statistics, close, places, same_spread

SAME = 1e-8  # in log2: two implementations of the same arithmetic
NAMES = sorted(MODELS)


@cache
def model(name: str) -> tuple[Scalars, Enumerated]:
    made = scalars(name)
    return made, Enumerated.of_oracle(made.graph)


def parameters(made: Scalars) -> Iterator[tuple[int, int]]:
    """(vertex of the recording, vertex of the oracle) of every parameter element."""
    for _, tensor in made.recording.vertex_tensors():
        if tensor.kind == "parameter":
            of_oracle = made.graph.parameter_vertices(tensor.name)
            assert tensor.first_vertex is not None
            assert len(of_oracle) == tensor.size
            yield from enumerate(of_oracle, start=tensor.first_vertex)


@pytest.mark.parametrize("name", NAMES)
def test_every_vertex(name: str) -> None:
    """Of the recording's own graph, all methods."""
    check_methods(model(name)[0].recording)


@pytest.mark.parametrize("name", NAMES)
def test_the_graphs_are_alike(name: str) -> None:
    made, graph = model(name)
    assert made.recording.loss == pytest.approx(made.graph.loss, rel=1e-12)
    assert made.recording.n_vertices == made.graph.n_vertices
    assert sum(map(len, Enumerated.of(made.recording).leaving)) == made.graph.n_edges
    assert graph.n_paths[next(parameters(made))[1]] == 0  # the embedding of token 0 is not read
    assert len(list(parameters(made))) == made.recording.n_parameters


@pytest.mark.parametrize("method", ["product", "soft"])
@pytest.mark.parametrize("name", NAMES)
def test_best_edges_of_every_parameter(name: str, method: str) -> None:
    """Scores and derivatives by rank; the oracle numbers its vertices otherwise."""
    made, graph = model(name)
    ranked = graph.all_ranked(method)
    best = best_edges(made.recording, 2, method)
    compared = 0
    for vertex, of_oracle in parameters(made):
        wanted = ranked[of_oracle][:2]
        found = best.score[vertex, : len(wanted)]
        assert (best.target[vertex] >= 0).sum() == len(wanted)
        assert all(close(score, row.score, SAME) for score, row in zip(found, wanted, strict=True)), vertex
        if _distinct(wanted):
            derivatives = [row.edge.derivative for row in wanted]
            assert best.derivative[vertex, : len(wanted)] == pytest.approx(derivatives, rel=1e-8)
            compared += 1
    assert compared > made.recording.n_parameters / 4


def _distinct(wanted: list[Ranked]) -> bool:
    return (bool(wanted) and wanted[0].score - wanted[-1].score > 1e-6) or len(wanted) == 1


@pytest.mark.parametrize("name", NAMES)
def test_spreads_and_statistics_of_every_parameter(name: str) -> None:
    made, graph = model(name)
    statistics = graph.all_statistics()
    contributions, paths = contribution_spread(made.recording), path_statistics(made.recording)
    for vertex, of_oracle in parameters(made):
        found = (contributions.log2_sum[vertex], contributions.entropy[vertex])
        assert same_spread(found, graph.contributions(of_oracle), SAME)
        here = Statistics(
            paths.log2_paths[vertex],
            Spread(paths.products.log2_sum[vertex], paths.products.entropy[vertex]),
            paths.log2_positive[vertex],
            paths.log2_negative[vertex],
        )
        check_same_statistics(here, statistics[of_oracle], SAME)


@pytest.mark.parametrize("name", NAMES)
def test_soft_traces_by_kind_of_operator(name: str) -> None:
    """Components that both graphs can name: the operators of one type."""
    made, graph = model(name)
    types = sorted({operator.type for operator in made.graph.operators})
    of_types = [types.index(operator.type) for operator in made.graph.operators]
    nodes = [call.primitive.name if call.primitive.kind != "copies" else "" for call in made.recording.tape.calls]
    assert set(nodes) - {""} == set(types)
    component_of = np.array([types.index(n) if n else -1 for n in nodes], dtype=np.int32)
    vertices = dict(parameters(made))
    group_of = [vertex % 3 for vertex in range(made.recording.n_parameters)]
    in_oracle = {of_oracle: group_of[vertex] for vertex, of_oracle in vertices.items()}
    nowhere = [-1] * made.recording.n_vertices
    wanted = graph.all_expected([in_oracle[v] for v in range(len(in_oracle))], of_types, nowhere)
    in_places = places(made.recording, component_of.tolist(), nowhere)
    found = soft_traces(made.recording, np.array(group_of, np.int32), 3, in_places)
    paths = np.stack([found.paths, found.weighted_paths])[..., : len(types)]
    np.testing.assert_allclose(paths, wanted.paths, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose([found.traced, found.traced_weight], wanted.traced, rtol=1e-8)
    for row, edges in enumerate((found.edges, found.weighted_edges)):
        by_type = [edges[:, component_of == c].sum(axis=1) for c in range(len(types))]
        by_type_wanted = [wanted.edges[row][:, np.array(of_types) == c].sum(axis=1) for c in range(len(types))]
        np.testing.assert_allclose(by_type, by_type_wanted, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("method", ["product", "soft"])
@pytest.mark.parametrize("name", NAMES)
def test_single_precision_is_close_to_double(name: str, method: str) -> None:
    """Scores of every vertex, whichever of two nearly equal edges each chooses."""
    single, double = single_precision(name), model(name)[0].recording
    assert single.gradients.dtype == np.float32
    found, wanted = (best_edges(recording, 1, method) for recording in (single, double))
    alive = np.isfinite(wanted.score[:, 0])
    np.testing.assert_array_equal(np.isfinite(found.score[:, 0]), alive)
    np.testing.assert_allclose(found.score[alive, 0], wanted.score[alive, 0], rtol=0, atol=1e-3)
    assert (found.target[:, 0] == wanted.target[:, 0]).mean() > 0.95


@cache
def single_precision(name: str) -> Recording:
    return scalars(name, torch.float32).recording
