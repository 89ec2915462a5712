"""The k best paths of stores of small trained models, against every path of the recording in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import groupby

import pytest
import torch

from gradtrace.exporters.models import Encoded
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.samples import Sample, Samples
from gradtrace.queries import Store, open_store

from ...oracle import Edge
from ..scalar_models import IDS, MODELS, scalars, trained_model
from .enumerated import Enumerated, log2

MOST = 1500  # paths of a vertex that is looked at
SAME = 1e-9
Ways = tuple[tuple[Fraction, tuple[Edge, ...]], ...]


@pytest.fixture(scope="module", params=sorted(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def stores(name: str, tmp_path_factory: pytest.TempPathFactory) -> list[Store]:
    """With every edge, and with the three best of each vertex."""
    module, inputs = trained_model(name)
    model = TorchModel(module, torch.float64)
    samples = Samples("made up", "0-1", [Sample("made up", lambda: Encoded(inputs, list(map(str, IDS))))])
    folder = tmp_path_factory.mktemp(name)
    for detail, keep in (("all", 2), ("parameters", 3)):
        settings = Settings(detail, "float64", keep, ("product", "soft"))
        dump(model, samples, folder / detail, settings)
    return [open_store(folder / "all"), open_store(folder / "parameters")]


@cache
def graph_of(name: str) -> Enumerated:
    return Enumerated.of(scalars(name).recording)


def starts(name: str) -> list[int]:
    """Vertices that have several paths, but not too many: parameters and activations of all sorts."""
    few = [vertex for vertex, n in enumerate(graph_of(name).n_paths) if 2 <= n <= MOST]
    return few[:: -(-len(few) // 6)]


@cache
def ways(name: str, start: int, by: str) -> Ways:
    """Every path that carries something, the best first; ties in the order of the first edge that differs."""
    graph = graph_of(name)
    measure = graph.product if by == "product" else graph.probability
    found = [(abs(measure(path)), path) for path in graph.paths(start)]
    kept = [way for way in found if way[0]]
    return tuple(sorted(kept, key=lambda way: (-way[0], [(e.operator, e.slot, e.dst) for e in way[1]])))


@pytest.mark.parametrize("by", ["product", "share"])
def test_every_path_in_order(name: str, stores: list[Store], by: str) -> None:
    for start in starts(name):
        wanted = ways(name, start, by)[:1000]
        for store in stores:
            found = store.k_best(start, 0, k=1000, by=by)
            assert len(found) == len(wanted) if found.certain else 3 <= len(found) <= len(wanted)
            assert found.certain or store is stores[1]
            rows = found.summary.to_pylist()
            sizes = [row["log2_product" if by == "product" else "probability"] for row in rows]
            sure = [log2(size) if by == "product" else float(size) for size, _ in wanted]
            assert sizes == pytest.approx(sure[: len(sizes)], rel=SAME, abs=SAME if by == "product" else 0)
            assert_same_order(hops_of(found.hops.to_pylist()), wanted, exact=by == "product")
            assert_signs_and_shares(rows, graph_of(name), start, hops_of(found.hops.to_pylist()))


def hops_of(hops: list[dict[str, int]]) -> list[tuple[tuple[int, int], ...]]:
    """Each path's edges as (slot, target)."""
    paths = groupby(hops, key=lambda hop: hop["rank"])
    return [tuple((hop["slot"], hop["vertex"]) for hop in path if hop["hop"]) for _, path in paths]


def assert_same_order(found: list[tuple[tuple[int, int], ...]], wanted: Ways, exact: bool) -> None:
    """Shares are rounded, so paths whose shares are closer than that may change places."""
    assert len(set(found)) == len(found)
    ordered = [tuple((edge.slot, edge.dst) for edge in path) for _, path in wanted]
    first = 0
    for place in range(len(wanted)):
        behind = place + 1
        if behind == len(wanted) or exact or wanted[behind][0] < wanted[place][0] * (1 - Fraction(SAME)):
            if behind <= len(found):
                assert sorted(found[first:behind]) == sorted(ordered[first:behind])
            first = behind


def assert_signs_and_shares(
    rows: list[dict[str, float]], graph: Enumerated, start: int, paths: list[tuple[tuple[int, int], ...]]
) -> None:
    for row, path in zip(rows, paths, strict=True):
        product, vertex = Fraction(1), start
        for slot, target in path:
            (edge,) = (e for e in graph.leaving[vertex] if (e.slot, e.dst) == (slot, target))
            product, vertex = product * Fraction(edge.derivative), target
        assert row["product"] == pytest.approx(float(product), rel=SAME)
        assert row["gradient_share"] == pytest.approx(float(product / Fraction(graph.gradient[start])), rel=SAME)


def test_shares_of_all_paths_sum_to_the_gradient(name: str, stores: list[Store]) -> None:
    sums = []
    for start in starts(name):
        if 0 < len(ways(name, start, "product")) <= 1000:
            sums.append(sum(stores[0].k_best(start, 0, k=1000).summary["gradient_share"].to_pylist()))
    assert len(sums) >= 3
    assert sums == pytest.approx([1.0] * len(sums), rel=1e-7)


def test_the_store_has_the_recordings_numbers(name: str, stores: list[Store]) -> None:
    graph = graph_of(name)
    rows = stores[0].fetch("select src, dst, slot, derivative from edges order by src, dst, slot")
    wanted = sorted((e.src, e.dst, e.slot, e.derivative) for edges in graph.leaving for e in edges)
    assert rows == wanted
