"""A store of every edge: counted, conserved, ranked, and the same however its samples are cut into shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradtrace.exporters.edges.blocks import EdgeBlock, Floats, Ints, edge_blocks
from gradtrace.exporters.models import Encoded
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.dump import dump as dumping
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import OpenedModel, open_model
from gradtrace.pipeline.dump.samples import Samples, read_samples
from gradtrace.queries import open_store
from gradtrace.queries.database.sample_edges import read_sample_edges
from gradtrace.queries.manifest import read_manifest
from gradtrace.queries.schema import MADE_OF

from ..studies import SENTENCES, assert_same_tables, rows, write_lines


@pytest.fixture(scope="module")
def exact_store(models_file: Path, sentences_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every edge in float64, five best ones kept."""
    model = open_model(f"{models_file}:lstm", "float64")
    out = tmp_path_factory.mktemp("exact") / "store"
    dump(model.traced, read_samples(sentences_file, model.encode), out, Settings("all", "float64", keep=5))
    return out


@pytest.fixture(scope="module", params=["float64", "float32"])
def store(request: pytest.FixtureRequest, exact_store: Path, lstm_store: Path) -> Path:
    """The store in either precision."""
    return exact_store if request.param == "float64" else lstm_store


def counts(store: Path, sql: str) -> list[tuple[object, ...]]:
    """The answer of a query."""
    with open_store(store) as opened:
        return opened.sql(sql).fetchall()


def test_edges_are_those_that_were_counted(store: Path) -> None:
    found = counts(store, "select sample, count(*) from edges group by sample order by sample")
    said = counts(store, "select sample, n_edges from samples order by sample")
    assert found == said
    assert len(found) == len(SENTENCES)


def test_contributions_add_up_to_gradients(store: Path) -> None:
    tolerance = {"float64": 1e-9, "float32": 1e-4}[read_manifest(store).dtype]
    ((vertices, worst, checked),) = counts(
        store,
        """
        with sums as (
            select sample, src, sum(contribution::double) as total, sum(abs(contribution::double)) as size
            from edges group by all
        )
        select
            (select count(*) from vertices),
            max(abs(total - gradient) / greatest(size, 1e-300)) filter (where size > 0),
            count(*)
        from sums join vertices on vertices.sample = sums.sample and vertex = src
        """,
    )
    assert float(str(worst)) <= tolerance
    # every vertex but the losses has an edge, or no gradient
    assert int(str(vertices)) - int(str(checked)) >= len(SENTENCES)
    assert counts(
        store,
        "select count(*) from vertices anti join edges on vertices.sample = edges.sample and vertex = src "
        "join graphs using (graph) where gradient <> 0 and vertex <> loss_vertex",
    ) == [(0,)]


def test_a_contribution_is_gradient_times_derivative(store: Path) -> None:
    tolerance = {"float64": 1e-12, "float32": 1e-5}[read_manifest(store).dtype]
    ((wrong, edges),) = counts(
        store,
        f"""
        select
            count(*) filter (
                where not abs(contribution - gradient * derivative)
                    <= {tolerance} * greatest(abs(contribution), 1e-30)
            ),
            count(*)
        from edges join vertices on vertices.sample = edges.sample and vertex = dst
        """,
    )
    assert wrong == 0
    assert counts(store, "select count(*) from edges") == [(edges,)]


def test_best_edges_are_the_largest(store: Path) -> None:
    """Ties go to the smallest (operator order, slot, dst), as DESIGN section 1 says."""
    keep = read_manifest(store).settings["keep"]
    ranked = f"""
        with ranked as (
            select
                sample, src, dst, slot, contribution,
                row_number() over (
                    partition by sample, src
                    order by abs(contribution) desc, "order", slot, dst
                ) as rank
            from edges
            join tensors on tensors.graph = edges.graph and tensor = dst_tensor
            join nodes on nodes.graph = edges.graph and nodes.node = tensors.node
        )
        select * from ranked where rank <= {keep}
    """
    assert counts(
        store,
        f"""
        with wanted as ({ranked}), found as (select sample, src, rank, dst, slot, contribution from best_edges)
        select count(*), count(wanted.src), count(found.src) from wanted full join found
        on found.sample = wanted.sample and found.src = wanted.src and found.rank = wanted.rank
        where wanted.dst is distinct from found.dst or wanted.slot is distinct from found.slot
            or wanted.contribution is distinct from found.contribution
        """,
    ) == [(0, 0, 0)]
    ((most,),) = counts(store, "select max(rank) from best_edges")
    assert most == keep


def test_rows_are_sorted_as_the_schema_says(store: Path) -> None:
    for table, columns in (("edges", "sample, src, dst, slot"), ("best_edges", "sample, src, rank")):
        found = rows(store, table).select([name.strip() for name in columns.split(",")])
        assert found.equals(found.sort_by([(name, "ascending") for name in found.column_names])), table


@pytest.mark.parametrize("size", [2, 3, 9])
def test_shards_of_another_size(
    lstm: OpenedModel, sentences: Samples, lstm_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setitem(dumping.SHARD_SIZE, "all", size)
    dump(lstm.traced, sentences, tmp_path / "store", Settings("all"))
    assert len(read_manifest(tmp_path / "store").shards) == -(-len(SENTENCES) // size)
    assert_same_tables(tmp_path / "store", lstm_store)


def test_a_sample_alone(models_file: Path, lstm_store: Path, tmp_path: Path) -> None:
    """Also from a process that has seen no other sample: the export is made from this one."""
    model = open_model(f"{models_file}:lstm", "float32")
    for number in (2, 1):
        out = tmp_path / str(number)
        samples = read_samples(write_lines(tmp_path / "one.txt", SENTENCES[number]), model.encode)
        dump(model.traced, samples, out, Settings("all"))
        assert_same_tables(out, lstm_store, (0, number))


def test_detail_parameters_is_a_part_of_detail_all(
    lstm: OpenedModel, sentences: Samples, lstm_store: Path, tmp_path: Path
) -> None:
    dump(lstm.traced, sentences, tmp_path / "store", Settings("parameters"))
    for table in ("samples", "vertices", "node_gradients", "best_edges", "entries", "path_edges", "path_counts"):
        assert rows(tmp_path / "store", table).equals(rows(lstm_store, table)), table
    assert rows(tmp_path / "store", "edges").num_rows == 0


class _LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(500, 80)
        self.lstm = nn.LSTM(80, 80, batch_first=True)
        self.decoder = nn.Linear(80, 500)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.embedding(input_ids))
        loss: Tensor = nn.functional.cross_entropy(self.decoder(hidden)[0], targets[0])
        return loss


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_for_each_edge(tmp_path: Path, dtype: torch.dtype) -> None:
    from gradtrace.pipeline.dump.samples import Sample

    torch.manual_seed(0)
    ids = torch.randint(500, (1, 16))
    sample = Sample("random", lambda: Encoded({"input_ids": ids[:, :-1], "targets": ids[:, 1:]}))
    name = str(dtype).removeprefix("torch.")
    model = TorchModel(_LanguageModel(), dtype)
    dump(model, Samples("random", "", [sample]), tmp_path / "store", Settings("all", name))
    (shard,) = read_manifest(tmp_path / "store").shards
    files = [file for table in ("edges", *MADE_OF["edges"]) for file in shard.files[table]]
    ((n_edges,),) = counts(tmp_path / "store", "select sum(n_edges) from samples")
    assert int(str(n_edges)) > 1_500_000
    assert sum(file.bytes for file in files) / int(str(n_edges)) <= (0.5 if dtype == torch.float32 else 1)


def test_edges_are_those_of_the_recording(lstm: OpenedModel, sentences: Samples, lstm_store: Path) -> None:
    """Those in rows and those of matrices, with every column, against the plain route: all edges made one by one."""
    with open_store(lstm_store) as store:
        (in_rows,), (of_matrices,) = store.fetch(
            "select count(*) from stored.edges union all select sum(n_src * n_dst) from stored.edge_matrices"
        )
        assert min(in_rows, of_matrices) > 0
        for number, sample in enumerate(sentences.samples):
            encoded = sample.encode()
            recording = lstm.traced.record(encoded.inputs, len(encoded.tokens), encoded.first_token)
            tensor_of = np.concatenate([np.full(tensor.size, i) for i, tensor in recording.vertex_tensors()])
            blocks = edge_blocks(recording)
            wanted = np.concatenate([_columns(block, recording.gradients, tensor_of) for block in blocks])
            found = store.fetch(
                "select src, dst, src_tensor, dst_tensor, slot, derivative, contribution from edges where sample = ?",
                [number],
            )
            assert sorted(found) == sorted(map(tuple, wanted.tolist()))


def _columns(block: EdgeBlock, gradients: Floats, tensor_of: Ints) -> NDArray[np.float64]:
    tensors = tensor_of[block.src], tensor_of[block.dst]
    return np.stack([block.src, block.dst, *tensors, block.slot, block.derivative, block.contributions(gradients)], 1)


def test_arrays_and_neighbours_are_rows_of_the_view(lstm_store: Path) -> None:
    columns = "src, dst, slot, derivative"
    with open_store(lstm_store) as store:
        graph = store.graph_of(1)
        nothing: Ints = np.empty(0, np.int64)
        every = sorted(store.fetch(f"select {columns} from edges where sample = 1"))
        found = read_sample_edges(store, 1, nothing, 0)
        assert (np.diff(found.src) >= 0).all()
        assert sorted(zip(*(column.tolist() for column in found), strict=True)) == every
        chosen = np.array([0, graph.n_parameters // 2, graph.n_parameters + 3, graph.n_vertices - 2])
        found = read_sample_edges(store, 1, chosen, graph.n_vertices)
        of_chosen = [row for row in every if row[0] in chosen]
        assert sorted(zip(*(column.tolist() for column in found), strict=True)) == of_chosen
        for vertex in range(0, graph.n_vertices, graph.n_vertices // 40):
            for macro, side in (("successors", 0), ("predecessors", 1)):
                rows_found = store.fetch(f"select {columns} from {macro}(1, {vertex})")
                assert sorted(rows_found) == [row for row in every if row[side] == vertex], (macro, vertex)
