"""A store of a model at several checkpoints holds what a store of each of them holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from gradtrace.exporters.models import ModelError
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.store.settings import Settings
from gradtrace.pipeline.dump.checkpoints import AtCheckpoints, Checkpoint
from gradtrace.pipeline.dump.dump import dump
from gradtrace.pipeline.dump.study import StudySource
from gradtrace.pipeline.training.runs import (
    checkpoint_path,
    checkpoint_steps,
    find_checkpoints,
    load_tensors,
    save_tensors,
)
from gradtrace.pipeline.training.training import TrainingConfig, train
from gradtrace.queries import open_store
from gradtrace.queries.manifest import read_manifest
from gradtrace.queries.schema import MADE_OF, SHARD_TABLES

from ..studies import assert_one_line_error, assert_same_tables, gradtrace, rows, write_lines
from .test_dump_resume import StopError, at_call

NAMES = ["step-000000", "step-000003", "step-000006", "step-000008"]
N = 3  # samples at each checkpoint


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of 8 steps with a checkpoint every 3; not to be changed."""
    folder = tmp_path_factory.mktemp("training")
    corpus = write_lines(folder / "corpus.txt", *[f"the {a} sees the {b} ." for a in "abcdefgh" for b in "ijklmnop"])
    sizes = {"embedding_size": 4, "hidden_size": 5}
    config = TrainingConfig("rnn_lm", sizes, str(corpus), epochs=2, checkpoint_every=3, learning_rate=0.05)
    train(config, folder / "run", shown=False)
    return folder / "run"


@pytest.fixture(scope="module")
def samples_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two lengths."""
    lines = ("the a sees the k .", "the b sees", "the h sees the p .")
    return write_lines(tmp_path_factory.mktemp("samples") / "samples.txt", *lines)


def dumped(source: StudySource, out: Path, settings: Settings | None = None) -> Path:
    opened = source.open()
    dump(opened.traced, opened.samples, out, settings or Settings(), checkpoints=opened.checkpoints)
    return out


@pytest.fixture(scope="module")
def store(run: Path, samples_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All checkpoints."""
    return dumped(StudySource(str(run), samples_file, checkpoints="all"), tmp_path_factory.mktemp("stores") / "all")


def test_training_keeps_every_checkpoint(run: Path) -> None:
    assert checkpoint_steps(run) == [0, 3, 6, 8]
    assert [path.stem for path in find_checkpoints(run, "all")] == NAMES
    first, last = (load_tensors(checkpoint_path(run, step)) for step in (0, 8))
    assert all(not torch.equal(first[name], last[name]) for name in first)


def test_samples_run_on_checkpoint_by_checkpoint(store: Path) -> None:
    samples = rows(store, "samples")
    assert samples["sample"].to_pylist() == list(range(4 * N))
    assert samples["checkpoint"].to_pylist() == [name for name in NAMES for _ in range(N)]
    assert samples["text"].to_pylist() == samples["text"].to_pylist()[:N] * 4
    assert samples["graph"].to_pylist() == [0, 1, 0] * 4
    assert len(set(samples["loss"].to_pylist())) == 4 * N
    assert rows(store, "graphs").num_rows == 2
    with open_store(store) as opened:
        assert [check for check in opened.verify() if not check.ok] == []


@pytest.mark.parametrize("at", range(4))
def test_each_part_equals_a_store_of_that_checkpoint(
    run: Path, samples_file: Path, store: Path, tmp_path: Path, at: int
) -> None:
    alone = dumped(StudySource(str(run), samples_file, checkpoint=NAMES[at]), tmp_path / "alone")
    for number in range(N):
        assert_same_tables(store, alone, (at * N + number, number))
    assert read_manifest(alone).model["fingerprint"] != read_manifest(store).model["fingerprint"]


def test_one_of_several_is_that_checkpoint(run: Path, samples_file: Path, tmp_path: Path) -> None:
    """`--checkpoints 3` continues what `--checkpoint 3` began; so does another order of the same ones."""
    dumped(StudySource(str(run), samples_file, checkpoint="3"), tmp_path / "one")
    dumped(StudySource(str(run), samples_file, checkpoints="step-000003"), tmp_path / "one")
    dumped(StudySource(str(run), samples_file, checkpoints="6,0"), tmp_path / "two")
    dumped(StudySource(str(run), samples_file, checkpoints="0,step-000006"), tmp_path / "two")
    assert rows(tmp_path / "two", "samples")["checkpoint"].to_pylist() == [NAMES[0]] * N + [NAMES[2]] * N


def test_the_model_of_the_store_is_the_last(run: Path, store: Path) -> None:
    last = load_tensors(checkpoint_path(run, 8))
    found = {x.name: numpy_helper.to_array(x) for x in onnx.load(store / "model.onnx").graph.initializer}
    assert set(found) >= set(last)
    assert all(torch.equal(torch.tensor(found[name]), tensor) for name, tensor in last.items())


@pytest.mark.parametrize("moment", [70, 130, 190])
def test_interrupted(run: Path, samples_file: Path, in_memory: Path, moment: int) -> None:
    source = StudySource(str(run), samples_file, checkpoints="0,8")
    wanted = dumped(source, in_memory / "wanted", Settings("all"))
    with pytest.raises(StopError), at_call(moment, StopError("stopped")):
        dumped(source, in_memory / "store", Settings("all"))
    assert len(read_manifest(in_memory / "store").shards) < 2 * N
    assert_same_tables(dumped(source, in_memory / "store", Settings("all")), wanted)


def test_importance_over_training(store: Path) -> None:
    with open_store(store) as opened:
        found = opened.query("importance_over_training").to_arrow_table().to_pylist()
        grouped = opened.importance(by=["checkpoint", "parameter_group", "component"]).to_arrow_table().to_pylist()
        losses = dict(opened.fetch("select checkpoint, avg(loss) from samples group by checkpoint"))
    assert list(dict.fromkeys(row["training_step"] for row in found)) == [0, 3, 6, 8]
    wanted = {(r["checkpoint"], r["parameter_group"], r["component"]): r["edge_share"] for r in grouped}
    shares = {(r["checkpoint"], r["parameter_group"], r["component"]): r["edge_share"] for r in found}
    assert shares == pytest.approx({key: share for key, share in wanted.items() if key in shares}, rel=1e-12)
    assert all(share == 0 for key, share in wanted.items() if key not in shares)
    assert {row["checkpoint"]: row["loss"] for row in found} == pytest.approx(losses)
    assert losses[NAMES[0]] > losses[NAMES[-1]]


def test_the_command(run: Path, samples_file: Path, store: Path, tmp_path: Path) -> None:
    command = ("dump", run, "--samples", samples_file, "--checkpoints")
    ran = gradtrace(*command, "all", "--out", tmp_path / "store")
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'store'}: 12 samples stored\n")
    assert_same_tables(tmp_path / "store", store)
    planned = gradtrace(*command, "all", "--out", tmp_path / "none", "--dry-run")
    assert "(2 input shapes, each at 4 checkpoints)" in planned.out
    wanted = sum(rows(store, "samples")["n_vertices"].to_pylist())
    assert f"vertices  {wanted:>16,}\n" in planned.out
    assert not (tmp_path / "none").exists()
    ran = gradtrace(*command, "0,8", "--out", tmp_path / "store")
    assert_one_line_error(ran, "holds another dump", "model checkpoints 'step-000000, step-000003")


def test_what_is_refused(run: Path, models_file: Path, samples_file: Path, tmp_path: Path) -> None:
    def refused(model: object, *options: str) -> str:
        ran = gradtrace("dump", model, "--samples", samples_file, "--out", tmp_path / "store", *options)
        assert_one_line_error(ran)
        assert not (tmp_path / "store").exists()
        return ran.err

    assert "has no checkpoint '4'. It has steps 0, 3, 6, 8." in refused(run, "--checkpoints", "0,4")
    assert "has no checkpoint ''" in refused(run, "--checkpoints", "0,")
    assert "step-000003 is chosen twice" in refused(run, "--checkpoints", "3,step-000003")
    assert "Give one of them" in refused(run, "--checkpoints", "0", "--checkpoint", "3")
    assert "--checkpoints is for training runs" in refused(f"{models_file}:rnn", "--checkpoints", "all")


def test_a_checkpoint_of_another_model(run: Path, samples_file: Path, tmp_path: Path) -> None:
    opened = StudySource(str(run), samples_file).open()
    save_tensors(tmp_path / "other.safetensors", {"embedding.weight": torch.zeros(3, 3)})
    with pytest.raises(ModelError, match=r"other\.safetensors does not fit the model"):
        AtCheckpoints(opened.traced, [Checkpoint("other", tmp_path / "other.safetensors")]).at(0)


class Normed(nn.Module):
    """A parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("scale", torch.tensor([1.0, 2.0]))

    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x) * self.scale).square().sum()


def test_weights_are_exchanged_without_another_export() -> None:
    """Buffers too, which an export holds as constants; the comparison with torch would refuse it otherwise."""
    torch.manual_seed(0)
    model, other = TorchModel(Normed(), torch.float32), Normed()
    other.scale *= 3
    inputs = {"x": torch.randn(1, 3)}
    before = model.record(inputs).loss
    exported = list(model.model.graph.node)
    model.load(other.state_dict(), "other")
    after = model.record(inputs)
    assert after.loss == pytest.approx(other(**inputs).item())
    assert after.loss != pytest.approx(before)
    assert list(model.model.graph.node) == exported
    stored = {i.name: numpy_helper.to_array(i) for i in model.model.graph.initializer}
    assert stored["scale"].tolist() == other.scale.tolist()
    assert len(model._recorders) == 1
    with pytest.raises(ModelError, match="somewhere does not fit the model"):
        model.load({"linear.weight": torch.zeros(2, 3)}, "somewhere")


def test_tables_have_rows_of_every_checkpoint(store: Path) -> None:
    for table in SHARD_TABLES:
        if table not in ("edges", *MADE_OF["edges"], "labels"):
            assert set(rows(store, table)["sample"].to_pylist()) == set(range(4 * N)), table


@pytest.mark.parametrize("options", [("--checkpoints", "all"), ("--checkpoints", "0,6"), ("--checkpoint", "3"), ()])
def test_repaired_when_the_run_has_gone_on(
    run: Path, samples_file: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """The store says which checkpoints it has, whichever are the run's latest and all of them by then."""
    mine = Path(shutil.copytree(run, tmp_path / "run"))
    command = ("dump", mine, "--samples", samples_file, *options, "--out")
    assert gradtrace(*command, tmp_path / "wanted").code == 0
    store = Path(shutil.copytree(tmp_path / "wanted", tmp_path / "store"))
    last = checkpoint_path(mine, 8)
    weights = {name: weight + 1 for name, weight in load_tensors(last).items()}
    save_tensors(checkpoint_path(mine, 9), weights)
    damaged = next((store / "path_edges").rglob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    ran = gradtrace("repair", store)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("repaired shard 0, samples 0 to ")
    assert_same_tables(store, tmp_path / "wanted")
