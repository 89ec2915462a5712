"""A new path method is one entry of the table and its score: everything else follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gradtrace.exporters.paths.path_sums import Spread
from gradtrace.exporters.paths.scores import SCORES
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump.dump import dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.samples import Samples
from gradtrace.queries import Store, open_store
from gradtrace.queries.methods import METHODS, Method

STEEPEST = Method(
    "steepest",
    "the largest |derivative| at every vertex",
    logarithms=True,
    all_paths=False,
    score="score",
    ratio="pow(2, runner_up - best)",
    weight=None,
)


@dataclass
class Steepness:
    """Every target counts alike."""

    recording: Recording
    log2_factor: None = None

    def of_outputs(self, outputs: slice, rank: NDArray[Any]) -> NDArray[Any]:
        del rank
        return np.zeros(outputs.stop - outputs.start)

    def finish(self, rank: NDArray[Any]) -> NDArray[Any]:
        return rank


def steepness(recording: Recording, spread: Spread | None) -> Steepness:
    del spread
    return Steepness(recording)


@pytest.fixture(scope="module")
def store(lstm: OpenedModel, sentences: Samples, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """All edges of SENTENCES, traced by greedy and by the new method, which is known as long as this is used."""
    out = tmp_path_factory.mktemp("steepest") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "steepest", STEEPEST)
        patch.setitem(SCORES, "steepest", steepness)
        dump(lstm.traced, sentences, out, Settings("all", methods=("greedy", "steepest")))
        with open_store(out) as opened:
            yield opened


def test_the_traced_edges_are_the_steepest(store: Store) -> None:
    text = """
    with ranked as (
        select e.sample, e.src, e.dst, e.slot, row_number() over (
            partition by e.sample, e.src order by abs(e.derivative) desc, n."order", e.slot, e.dst
        ) as place, e.derivative
        from edges as e join tensors as t on t.graph = e.graph and t.tensor = e.dst_tensor
        join nodes as n on n.graph = t.graph and n.node = t.node
    )
    select count(*), count(*) filter (r.dst = b.dst and r.slot = b.slot)
    from ranked as r join best_edges as b using (sample, src)
    where r.place = 1 and b.rank = 1 and b.method = 'steepest' and r.derivative <> 0
    """
    ((n, alike),) = store.sql(text).fetchall()
    assert n == alike > 1000


def test_everything_asks_it(store: Store) -> None:
    path = store.trace("rnn.weight_hh_l0[3,2]", method="steepest")
    assert path.hops[-1]["component"] == "loss"
    rows = store.importance(["sample", "component"], method="steepest").fetchall()
    queried = store.query("importance", method="steepest").fetchall()
    assert sum(row[2] for row in rows) == sum(row[3] for row in queried) > 0
    assert store.importance(["component"], method="steepest").fetchall() != store.importance(["component"]).fetchall()
    assert store.query("compare_methods_over_samples").fetchall()
    assert store.query("token_importance", method="steepest").fetchall()


def test_its_claims_hold(store: Store) -> None:
    failed = [check for check in store.verify() if not check.ok]
    assert failed == []


def test_a_study_counts_the_same_paths(store: Store, lstm: OpenedModel, sentences: Samples, tmp_path: Path) -> None:
    dump(lstm.traced, sentences, tmp_path / "s", Settings("study", methods=("steepest",)))
    text = "from path_edges where method = 'steepest' order by all"
    with open_store(tmp_path / "s") as study:
        assert study.sql(text).fetchall() == store.sql(text).fetchall()


def test_the_path_is_followed_edge_by_edge(store: Store) -> None:
    """Against the rows alone: from every vertex of the path its best edge leads to the next."""
    hops = store.trace("rnn.weight_ih_l1[0,1]", sample=2, method="steepest").hops
    best = dict(
        store.sql("select src, dst from best_edges where method = 'steepest' and rank = 1 and sample = 2").fetchall()
    )
    vertices = [hop["vertex"] for hop in hops]
    assert [best[vertex] for vertex in vertices[:-1]] == vertices[1:]
    assert len(vertices) > 5
