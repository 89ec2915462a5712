"""The k best paths of real dumps: from all edges, from the best ones, and with the sample recorded again."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from gradtrace.pipeline.dump.checkpoints import Checkpoint
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel
from gradtrace.pipeline.dump.recompute import recorded_edges
from gradtrace.pipeline.dump.samples import Samples, read_samples
from gradtrace.queries import Store, StoreError, open_store
from gradtrace.queries.database.names import find_vertex
from gradtrace.queries.paths.path_list import Paths

from ..studies import assert_one_line_error, gradtrace, write_lines

START = "rnn.weight_hh_l0[2,1]"
BOTH = ("product", "soft")


class Way(NamedTuple):
    """A path from a vertex on: the product of its weights, and its edges as (slot, target)."""

    product: float
    edges: tuple[tuple[int, int], ...]


def ways(
    store: Store, sample: int, by: str, k: int, start: int, goal: int, through: set[int] | None = None
) -> list[Way]:
    """The k best ways from `start` to `goal`, from the table `edges`: every vertex merges those of its targets.

    A vertex has two lists: of ways that have still to pass `through`, and of those that need not.
    """
    leaving = defaultdict(list)
    total: dict[int, float] = defaultdict(float)
    rows = store.fetch("select src, dst, slot, derivative, contribution from edges where sample = ?", [sample])
    for src, dst, slot, derivative, contribution in rows:
        if dst <= goal:
            leaving[src].append((dst, slot, abs(derivative), abs(contribution)))
        total[src] += abs(contribution)
    found: dict[tuple[int, bool], list[Way]] = {(goal, False): [Way(1.0, ())]}
    activations = {v for v in leaving if v >= store.graph_of(sample).n_parameters and v < goal}
    for src in sorted(activations | {start}, reverse=True):
        for needs in (False, True):
            merged = [
                Way(way.product * (size if by == "product" else carried / total[src]), ((slot, dst), *way.edges))
                for dst, slot, size, carried in leaving[src]
                for way in found.get((dst, needs and dst not in (through or set())), [])
                if size and carried
            ]
            found[src, needs] = sorted(merged, key=lambda way: -way.product)[:k]
    return found[start, through is not None]


def assert_same_paths(found: Paths, wanted: list[Way]) -> None:
    """The products agree, the paths are distinct, and each is one of the wanted of its product."""
    measure = "product" if found.by == "product" else "probability"
    sizes = [abs(row[measure]) for row in found.summary.to_pylist()]
    assert sizes == pytest.approx([way.product for way in wanted], rel=1e-6)
    paths = [tuple((hop["slot"], hop["vertex"]) for hop in path.hops[1:]) for path in found]
    assert len(set(paths)) == len(paths)
    last = [way.edges for way in wanted if way.product < wanted[-1].product * (1 + 1e-6)]
    assert set(paths) >= {way.edges for way in wanted} - set(last)  # those behind the last may tie with it


@pytest.fixture(scope="session")
def complete(lstm: OpenedModel, sentences: Samples, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every edge, and the two best of each vertex."""
    out = tmp_path_factory.mktemp("stores") / "complete"
    dump(lstm.traced, sentences, out, Settings("all", methods=BOTH))
    return open_store(out)


@pytest.fixture(scope="session")
def kept(lstm: OpenedModel, sentences: Samples, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The two best edges of each vertex."""
    out = tmp_path_factory.mktemp("stores") / "kept"
    dump(lstm.traced, sentences, out, Settings(methods=BOTH))
    return open_store(out)


@pytest.mark.parametrize("by", ["product", "share"])
@pytest.mark.parametrize(
    ("start", "sample"), [(START, 1), (START, 0), ("embedding.weight[4,0]", 0), ("decoder.bias[3]", 0)]
)
def test_the_best_of_all_paths(complete: Store, by: str, start: str, sample: int) -> None:
    graph = complete.graph_of(sample)
    wanted = ways(complete, sample, by, 40, find_vertex(graph, start), graph.loss_vertex)
    found = complete.k_best(start, sample, k=40, by=by)
    assert found.certain
    assert_same_paths(found, wanted)


@pytest.mark.parametrize("by", ["product", "share"])
def test_the_best_path_is_the_trace(kept: Store, by: str) -> None:
    method = {"product": "product", "share": "soft"}[by]
    for start in (START, "embedding.weight[4,0]", "rnn.weight_ih_l1[23,5]"):
        traced, best = kept.trace(start, 0, method), kept.k_best(start, 0, k=1, by=by)[0]
        for left, right in zip(traced.hops, best.hops, strict=True):
            assert left.keys() == right.keys()
            assert right == left | {"margin": None, "share": pytest.approx(left["share"])}


def test_a_store_without_the_methods_but_with_all_edges(lstm_store: Path, complete: Store) -> None:
    with open_store(lstm_store) as store:
        for by in ("product", "share"):
            found, wanted = store.k_best(START, 0, 30, by), complete.k_best(START, 0, 30, by)
            assert found.hops.equals(wanted.hops)
            assert found.summary["product"].to_pylist() == wanted.summary["product"].to_pylist()


def test_paths_between_and_through(complete: Store) -> None:
    graph = complete.graph_of(0)
    gate = [
        t for t in graph.vertex_tensors if t.node is not None and graph.nodes[t.node].component == "rnn.l1.forget_gate"
    ]
    inside = {v for t in gate for v in range(t.first_vertex or 0, (t.first_vertex or 0) + t.size)}
    start = find_vertex(graph, "rnn.weight_hh_l1[2,1]")
    found = complete.k_best("rnn.weight_hh_l1[2,1]", 0, 20, through="rnn.l1.forget_gate")
    assert_same_paths(found, ways(complete, 0, "product", 20, start, graph.loss_vertex, inside))
    goal = gate[-1].first_vertex or 0
    found = complete.k_best("rnn.weight_hh_l1[2,1]", 0, 20, to=goal)
    assert_same_paths(found, ways(complete, 0, "product", 20, start, goal))


def test_only_certain_paths_without_all_edges(kept: Store, complete: Store) -> None:
    found, wanted = kept.k_best(START, 0, k=50), complete.k_best(START, 0, k=50)
    n = len(found)
    assert 2 <= n < 50
    assert not found.certain
    assert found.note.startswith(f"{n} of 50 paths are certain with keep = 2")
    assert "--keep 50 or --detail all, or give --model and --samples" in found.note
    assert found.note in str(found)
    assert found.summary["product"].to_pylist() == wanted.summary["product"].to_pylist()[:n]


@pytest.mark.parametrize("asked", [{}, {"by": "share"}, {"through": "rnn.l1.cell"}, {"to": "rnn.l1.cell.t3.Add[0,2]"}])
def test_the_sample_recorded_again(
    kept: Store, complete: Store, models_file: Path, sentences_file: Path, asked: dict[str, str]
) -> None:
    more = recorded_edges(kept, 0, f"{models_file}:lstm", sentences_file)
    found = kept.k_best(START, 0, k=50, more=more, **asked)  # type: ignore[arg-type]
    wanted = complete.k_best(START, 0, k=50, **asked)  # type: ignore[arg-type]
    assert found.certain
    assert len(found) == 50
    assert found.summary["product"].to_pylist() == pytest.approx(wanted.summary["product"].to_pylist(), rel=1e-6)


ASKED = [{"k": 50}, {"k": 50, "by": "share"}, {"k": 1, "by": "share", "through": "rnn.l1.cell"}]


@pytest.mark.parametrize("asked", ASKED)
def test_a_store_of_another_method_and_the_sample_recorded_again(
    lstm: OpenedModel,
    sentences: Samples,
    complete: Store,
    models_file: Path,
    sentences_file: Path,
    tmp_path: Path,
    asked: dict[str, object],
) -> None:
    dump(lstm.traced, sentences, tmp_path / "store", Settings())
    with open_store(tmp_path / "store") as store:
        more = recorded_edges(store, 1, f"{models_file}:lstm", sentences_file)
        for start in (START, "rnn.l0.hidden.t1.Mul[0,3]"):
            found = store.k_best(start, 1, more=more, **asked)  # type: ignore[arg-type]
            wanted = complete.k_best(start, 1, **asked)  # type: ignore[arg-type]
            assert found.certain
            assert found.hops.equals(wanted.hops)
            for name in ("product", "probability"):
                expected = [x if x is None else pytest.approx(x, rel=1e-9) for x in wanted.summary[name].to_pylist()]
                assert found.summary[name].to_pylist() == expected


def test_a_store_without_gradients_of_parameters(
    lstm: OpenedModel, sentences: Samples, complete: Store, models_file: Path, sentences_file: Path, tmp_path: Path
) -> None:
    dump(lstm.traced, sentences, tmp_path / "store", Settings(methods=BOTH, parameter_vertices=False))
    unknown = f"the store does not hold the gradient of {START}, so shares of it are not known"
    with open_store(tmp_path / "store") as store:
        found, wanted = store.k_best(START, 0, 2, "share"), complete.k_best(START, 0, 2, "share")
        assert found.summary["product"].to_pylist() == wanted.summary["product"].to_pylist()
        assert found.summary["probability"].null_count == 2
        assert found.note == f"{unknown}; nor are probabilities known, for want of all contributions of {START}"
        more = recorded_edges(store, 0, f"{models_file}:lstm", sentences_file)
        found, wanted = store.k_best(START, 0, 20, "share", more=more), complete.k_best(START, 0, 20, "share")
        assert found.certain
        probabilities = wanted.summary["probability"].to_pylist()
        assert found.summary["probability"].to_pylist() == pytest.approx(probabilities, rel=1e-6)
        assert found.summary["gradient_share"].null_count == 20
        assert found.note == unknown


def test_a_study_is_refused(lstm: OpenedModel, sentences: Samples, tmp_path: Path) -> None:
    dump(lstm.traced, sentences, tmp_path / "store", Settings("study", methods=BOTH))
    with (
        open_store(tmp_path / "store") as store,
        pytest.raises(StoreError, match="keeps the edges of traced paths only"),
    ):
        store.k_best(START)


def test_other_models_and_samples_are_refused(
    kept: Store, models_file: Path, sentences_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="rnn is not the model of the store"):
        recorded_edges(kept, 0, f"{models_file}:rnn", sentences_file)
    other = write_lines(tmp_path / "other.txt", "the cat sees us", "dog", "a big bird hears us and me", "me likes us")
    with pytest.raises(StoreError, match=r"other\.txt is not the samples of the store"):
        recorded_edges(kept, 0, f"{models_file}:lstm", other)


def test_the_first_samples_of_a_longer_file(
    lstm: OpenedModel, models_file: Path, sentences_file: Path, tmp_path: Path
) -> None:
    dump(lstm.traced, read_samples(sentences_file, lstm.encode, 2), tmp_path / "store", Settings(methods=BOTH))
    with open_store(tmp_path / "store") as store:
        more = recorded_edges(store, 1, f"{models_file}:lstm", sentences_file)
        assert store.k_best(START, 1, k=30, more=more).certain


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_command(kept: Store, complete: Store, models_file: Path, sentences_file: Path, tmp_path: Path) -> None:
    ran = gradtrace("trace", complete.path, START, "-k", "5")
    assert ran.out.startswith(f"5 best paths of {START} by product, sample 0, gradient ")
    assert len(ran.out.splitlines()) == 7
    rows = table(gradtrace("trace", complete.path, START, "-k", "5", "--format", "csv").out)
    assert [row["rank"] for row in rows] == sorted(row["rank"] for row in rows)
    assert {row["rank"] for row in rows} == set("12345")
    assert sum(row["hop"] == "1" for row in rows) == 5
    again = ("--model", f"{models_file}:lstm", "--samples", sentences_file)
    ran = gradtrace("trace", kept.path, START, "-k", "5", "--by", "share", *again, "--format", "json")
    wanted = gradtrace("trace", complete.path, START, "-k", "5", "--by", "share", "--format", "json")
    shown = [[(row["rank"], row["vertex_name"]) for row in json.loads(one.out)] for one in (ran, wanted)]
    assert shown[0] == shown[1]
    assert (
        gradtrace("trace", kept.path, START, "-k", "2", "--format", "parquet", "--out", tmp_path / "p.parquet").code
        == 0
    )
    assert set(pq.read_table(tmp_path / "p.parquet")["rank"].to_pylist()) == {1, 2}


def test_the_command_says_what_is_not_certain(kept: Store) -> None:
    assert "paths are certain with keep = 2" in gradtrace("trace", kept.path, START, "-k", "50").out
    ran = gradtrace("trace", kept.path, START, "-k", "50", "--format", "csv")
    assert "paths are certain with keep = 2" in ran.err
    assert len({row["rank"] for row in table(ran.out)}) < 50


def test_the_command_with_one_restricted_path(complete: Store, kept: Store, rnn_store: Path) -> None:
    ran = gradtrace("trace", complete.path, START, "--through", "rnn.l1.forget_gate", "--through", "rnn.l1.cell")
    assert ran.out.startswith(f"soft path of {START}, sample 0: ")
    assert "rnn.l1.forget_gate" in ran.out
    ran = gradtrace("trace", complete.path, START, "--to", "rnn.l1.cell.t3.Add[0,2]", "--by", "product")
    assert "reaches the vertex asked for" in ran.out
    assert_one_line_error(gradtrace("trace", kept.path, START, "--through", "rnn.l9"), "names no component")
    assert_one_line_error(gradtrace("trace", kept.path, START, "-k", "3", "--model", "x.py:y"), "--samples go together")
    assert_one_line_error(gradtrace("trace", rnn_store, START, "-k", "3"), "--method product")
    assert_one_line_error(gradtrace("trace", kept.path, START, "-k", "0"), "from 1 to 1000")


def test_samples_at_several_checkpoints(
    lstm: OpenedModel, sentences: Samples, tmp_path: Path, models_file: Path, sentences_file: Path
) -> None:
    checkpoints = [Checkpoint("one"), Checkpoint("two")]
    dump(lstm.traced, sentences, tmp_path / "store", Settings(methods=BOTH), checkpoints=checkpoints)
    with open_store(tmp_path / "store") as store, pytest.raises(StoreError, match="give their training run"):
        recorded_edges(store, 5, f"{models_file}:lstm", sentences_file)
