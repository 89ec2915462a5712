"""A new path method is one entry of the table and its score: everything else follows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gradtrace.exporters.paths.path_sums import Spread
from gradtrace.exporters.paths.scores import SCORES, Suffixes
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump.dump import dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Samples
from gradtrace.queries import Store, open_store
from gradtrace.queries.methods import METHODS, Method

HALVED = Method(
    "halved",
    "the path with the largest product of |derivatives| and a half for every vertex on it",
    logarithms=True,
    all_paths=False,
    score="score",
    ratio="pow(2, runner_up - best)",
    weight=None,
)


class Halves:
    """The largest product on the target's way to the loss, and a half for the target."""

    def __init__(self, recording: Recording) -> None:
        self._suffixes = Suffixes(recording.loss_vertex)
        factor = np.full(recording.n_vertices, -1.0)
        factor[recording.loss_vertex] = 0.0
        self._factor = factor
        self.log2_factor: NDArray[Any] | None = factor

    def of_outputs(self, outputs: slice, rank: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self._suffixes.of_outputs(outputs, rank) + self._factor[outputs]
        return found

    def finish(self, rank: NDArray[Any]) -> NDArray[Any]:
        return rank


def halves(recording: Recording, spread: Spread | None) -> Halves:
    del spread
    return Halves(recording)


@pytest.fixture(scope="module")
def store(lstm: OpenedModel, sentences: Samples, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """All edges of SENTENCES, traced by greedy and by the new method, which is known as long as this is used."""
    out = tmp_path_factory.mktemp("halved") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "halved", HALVED)
        patch.setitem(SCORES, "halved", halves)
        dump(lstm.traced, sentences, out, Settings("all", methods=("greedy", "halved")))
        with open_store(out) as opened:
            yield opened


def test_the_traced_edges_have_the_largest_products(store: Store) -> None:
    """Against all edges, from the loss back: of each vertex the largest, by operator, slot and target where equal."""
    traced = """
    select src, dst, slot, score from best_edges where method = 'halved' and rank = 1 and sample = 0
    """
    edges = """
    select src, dst, slot, abs(derivative) from edges where sample = 0 and derivative <> 0 order by src desc
    """
    ((loss,),) = store.sql("select max(dst) from edges where sample = 0").fetchall()
    largest = {loss: 1.0}
    by_edge: dict[tuple[int, int, int], float] = {}
    for src, dst, slot, derivative in store.sql(edges).fetchall():
        found = derivative * largest.get(dst, 0.0) * (1.0 if dst == loss else 0.5)
        by_edge[src, dst, slot] = found
        largest[src] = max(largest.get(src, 0.0), found)
    rows = [row for row in store.sql(traced).fetchall() if largest.get(row[0], 0.0) > 0]
    assert len(rows) > 1000
    for src, dst, slot, score in rows:
        assert by_edge[src, dst, slot] == pytest.approx(largest[src], rel=1e-6)
        assert 2.0**score == pytest.approx(largest[src], rel=1e-6)


def test_everything_asks_it(store: Store) -> None:
    path = store.trace("rnn.weight_hh_l0[3,2]", method="halved")
    assert path.hops[-1]["component"] == "loss"
    rows = store.importance(["sample", "component"], method="halved").fetchall()
    queried = store.query("importance", method="halved").fetchall()
    assert sum(row[2] for row in rows) == sum(row[3] for row in queried) > 0
    assert store.importance(["component"], method="halved").fetchall() != store.importance(["component"]).fetchall()
    assert store.query("compare_methods_over_samples").fetchall()
    assert store.query("token_importance", method="halved").fetchall()


def test_its_claims_hold(store: Store) -> None:
    failed = [check for check in store.verify() if not check.ok]
    assert failed == []


def test_a_study_counts_the_same_paths(store: Store, lstm: OpenedModel, sentences: Samples, tmp_path: Path) -> None:
    dump(lstm.traced, sentences, tmp_path / "s", Settings("study", methods=("halved",)))
    text = "from path_edges where method = 'halved' order by all"
    with open_store(tmp_path / "s") as study:
        assert study.sql(text).fetchall() == store.sql(text).fetchall()


def test_the_path_is_followed_edge_by_edge(store: Store) -> None:
    """Against the rows alone: from every vertex of the path its best edge leads to the next."""
    hops = store.trace("rnn.weight_ih_l1[0,1]", sample=2, method="halved").hops
    best = dict(
        store.sql("select src, dst from best_edges where method = 'halved' and rank = 1 and sample = 2").fetchall()
    )
    vertices = [hop["vertex"] for hop in hops]
    assert [best[vertex] for vertex in vertices[:-1]] == vertices[1:]
    assert len(vertices) > 5
