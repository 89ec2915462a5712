"""gradtrace from Python: a live model gives the store that the command gives, and every option is there."""

from __future__ import annotations

import copy
import inspect
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import gradtrace as gt
from gradtrace.pipeline import api
from gradtrace.pipeline.commands import make
from gradtrace.pipeline.dump.models import open_traceable

from .studies import SENTENCES, assert_same_tables, gradtrace


@pytest.fixture(scope="module")
def traceable(models_file: Path) -> gt.Traceable:
    """The Elman RNN in memory."""
    return open_traceable(f"{models_file}:rnn")


@pytest.fixture(scope="module")
def by_command(models_file: Path, sentences_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `gradtrace dump` makes of the first two sentences."""
    out = tmp_path_factory.mktemp("command") / "store"
    ran = gradtrace(
        "dump", f"{models_file}:rnn", "--samples", sentences_file, "--out", out, "--limit", 2, "--method", "product"
    )
    assert ran.code == 0, ran.err
    return out


def inputs_of(traceable: gt.Traceable, text: str) -> dict[str, Any]:
    """A sentence as a dict that says all that its line in a file says."""
    encoded = traceable.encode(text)
    return {**encoded.inputs, "text": text, "tokens": encoded.tokens}


def test_every_name_is_there_and_documented() -> None:
    for name in gt.__all__:
        assert inspect.getdoc(getattr(gt, name)), name
    assert issubclass(gt.ModelError, gt.GradtraceError)
    assert issubclass(gt.SampleError, gt.GradtraceError)
    assert issubclass(gt.StoreError, gt.GradtraceError)


@pytest.mark.parametrize("name", ["dump", "export"])
def test_every_option_of_the_command_is_a_parameter(name: str) -> None:
    command = set(inspect.signature(getattr(make, name)).parameters)
    here = set(inspect.signature(getattr(api, name)).parameters)
    assert command - here == ({"seed"} if name == "dump" else set())  # shuffle=SEED is both


def test_a_live_module_and_dicts(traceable: gt.Traceable, by_command: Path, tmp_path: Path) -> None:
    samples = [inputs_of(traceable, text) for text in SENTENCES]
    traceable.model.train()
    weights = {name: tensor.clone() for name, tensor in traceable.model.state_dict().items()}
    done: list[int] = []
    dumped = gt.dump(traceable.model, samples, tmp_path / "s", method="product", limit=2, progress=done.append)
    assert (dumped.stored, dumped.failed, dumped.before, dumped.estimate) == (2, (), 0, None)
    assert done[0] == 0
    assert done[-1] == 2
    assert_same_tables(dumped.path, by_command)
    assert traceable.model.training  # a copy was traced
    assert all(torch.equal(tensor, weights[name]) for name, tensor in traceable.model.state_dict().items())
    assert all(p.grad is None for p in traceable.model.parameters())
    again = gt.dump(traceable.model, samples, tmp_path / "s", method="product", limit=2)
    assert (again.stored, again.before) == (2, 2)
    with dumped.open() as store:
        assert len(store.trace("rnn.weight_hh_l0[3,2]", method="product")) > 0


def test_texts_with_an_encoder(traceable: gt.Traceable, by_command: Path, tmp_path: Path) -> None:
    given = gt.dump(traceable, SENTENCES[:2], tmp_path / "own", method=["product"])
    assert_same_tables(given.path, by_command)
    beside = gt.dump(traceable.model, SENTENCES, tmp_path / "given", method="product", encode=traceable.encode, limit=2)
    assert_same_tables(beside.path, by_command)


def test_models_and_samples_on_disk(
    models_file: Path, sentences_file: Path, traceable: gt.Traceable, by_command: Path, tmp_path: Path
) -> None:
    model = f"{models_file}:rnn"
    assert_same_tables(gt.dump(model, sentences_file, tmp_path / "a", method="product", limit=2).path, by_command)
    texts = gt.dump(model, SENTENCES, str(tmp_path / "b"), method="product", limit=2)
    assert_same_tables(texts.path, by_command)
    live = gt.dump(traceable, str(sentences_file), tmp_path / "c", method="product", limit=2)
    assert_same_tables(live.path, by_command)


def test_labels_and_encoded_samples(traceable: gt.Traceable, tmp_path: Path) -> None:
    labelled = {**inputs_of(traceable, "dog"), "labels": {"number": "singular", "length": 1}}
    dumped = gt.dump(traceable, [labelled, traceable.encode("the cat")], tmp_path / "s", detail="study")
    with dumped.open() as store:
        rows = store.sql(
            "select text, tokens, sample_label(sample, 'number'), sample_label(sample, 'length') "
            "from samples order by sample"
        ).fetchall()
    assert rows == [("dog", ["<eos>", "dog"], "singular", "1"), (None, ["<eos>", "the", "cat"], None, None)]


def test_arrays_and_lists_are_inputs_too(traceable: gt.Traceable) -> None:
    tensors = traceable.encode("the cat").inputs
    wanted = gt.record(traceable.model, tensors).loss
    assert gt.record(traceable.model, {name: x.numpy() for name, x in tensors.items()}).loss == wanted
    assert gt.record(traceable.model, {name: x.tolist() for name, x in tensors.items()}).loss == wanted


def test_other_samples_do_not_continue_a_store(traceable: gt.Traceable, tmp_path: Path) -> None:
    gt.dump(traceable, [traceable.encode("dog")], tmp_path / "s", detail="study")
    with pytest.raises(gt.StoreError, match="holds another dump"):
        gt.dump(traceable, [traceable.encode("cat")], tmp_path / "s", detail="study")
    assert gt.dump(traceable, [traceable.encode("dog")], tmp_path / "s", detail="study").before == 1


def test_a_sample_that_fails_is_listed(traceable: gt.Traceable, tmp_path: Path) -> None:
    bad = {**traceable.encode("dog").inputs, "targets": torch.tensor([[1, 99]])}
    dumped = gt.dump(traceable, [traceable.encode("dog"), bad], tmp_path / "s", detail="study")
    assert dumped.stored == 1
    ((number, reason),) = dumped.failed
    assert number == 1
    assert reason.startswith("invalid: ")


def test_a_dry_run_writes_nothing(traceable: gt.Traceable, tmp_path: Path) -> None:
    dumped = gt.dump(traceable, SENTENCES, tmp_path / "s", detail="study", dry_run=True)
    assert dumped.estimate is not None
    assert dumped.estimate.samples == 4
    assert not (tmp_path / "s").exists()


def test_record_gives_torchs_gradients(traceable: gt.Traceable) -> None:
    recording = gt.record(traceable, "the cat sees me", dtype="float64")
    module = copy.deepcopy(traceable.model).eval().double()
    loss = module(**traceable.encode("the cat sees me").inputs)
    loss.backward()
    assert recording.loss == pytest.approx(float(loss.detach()), rel=1e-12)
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        np.testing.assert_allclose(recording.gradient(name), parameter.grad.numpy(), rtol=1e-9, atol=1e-12)
        assert np.array_equal(recording.value(name), parameter.detach().numpy())
    with pytest.raises(gt.ModelError, match=r"no tensor 'rnn.weight_hh', .* Did you mean rnn.weight_hh_l"):
        recording.gradient("rnn.weight_hh")


def test_export_writes_what_it_returns(traceable: gt.Traceable, tmp_path: Path) -> None:
    exported = gt.export(traceable, ["the cat"], tmp_path / "deep" / "m.onnx")
    assert onnx.load(tmp_path / "deep" / "m.onnx") == exported
    assert gt.export(traceable, ["the cat"]) == exported


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"method": "gready"}, gt.GradtraceError, "no method 'gready'. Did you mean greedy"),
        ({"detail": "everything"}, gt.GradtraceError, "no detail 'everything'. Choose among study, parameters, all"),
        ({"dtype": "float16"}, gt.GradtraceError, "Choose among float32, float64"),
        ({"keep": 0}, gt.GradtraceError, "keep=0"),
        ({"method": []}, gt.GradtraceError, "0 methods"),
        ({"engine": "spark"}, gt.GradtraceError, "no engine 'spark'"),
        ({"engine": "ray"}, gt.ModelError, "engine='ray' was given with a model or samples in memory"),
        ({"workers": 2}, gt.ModelError, "workers=2 was given with a model or samples in memory"),
        ({"workers": 0}, gt.GradtraceError, "workers is 0; a whole number from 1 on"),
        ({"address": "auto"}, gt.GradtraceError, "address is for engine='ray'"),
        ({"checkpoint": "step-000100"}, gt.ModelError, "checkpoint was given; a live model"),
        ({"objective": "agreement"}, gt.ModelError, "objective was given; a live model"),
        ({"encode": str.split}, gt.ModelError, "Give one of them"),
        ({"samples": []}, gt.SampleError, "no samples were given"),
        ({"samples": None}, gt.SampleError, "no samples were given"),
        ({"samples": [3]}, gt.SampleError, "sample 0 is of type int"),
        ({"samples": [{"input_ids": "the"}]}, gt.SampleError, "'input_ids' is no tensor"),
        ({"samples": [{"text": "dog", "labels": ["x"]}]}, gt.SampleError, "'labels' is"),
        ({"samples": Path("nowhere.txt")}, gt.SampleError, "nowhere.txt does not exist"),
    ],
)
def test_bad_input_is_one_clear_error(
    traceable: gt.Traceable, tmp_path: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    given = {"samples": ["dog"], **options}
    with pytest.raises(error, match=said.replace("(", r"\(")):
        gt.dump(traceable, out=tmp_path / "s", **given)
    assert not (tmp_path / "s").exists()


def test_a_text_needs_an_encoder(traceable: gt.Traceable, tmp_path: Path) -> None:
    with pytest.raises(gt.SampleError, match="sample 0 is a text, which needs an encoder"):
        gt.dump(traceable.model, ["dog"], tmp_path / "s")


def test_a_module_without_a_scalar(tmp_path: Path) -> None:
    with pytest.raises(gt.ModelError, match="scalar"):
        gt.dump(nn.Linear(2, 2), [{"input": torch.ones(1, 2)}], tmp_path / "s")


class Classifier(nn.Module):
    """With inputs of floats, a target called as transformers calls it, and one weight under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.second(torch.tanh(self.first(x))), labels)  # a secret in /home/x/y.py


X, LABELS = [[0.1, -0.4, 0.8]], [2]


@pytest.mark.parametrize(
    "sample",
    [
        {"x": torch.tensor(X), "labels": torch.tensor(LABELS)},
        {"x": np.array(X, np.float32), "labels": np.array(LABELS)},
        {"x": X, "labels": LABELS},
    ],
    ids=["tensors", "arrays", "lists"],
)
def test_labels_that_are_no_dict_are_an_input(sample: dict[str, Any]) -> None:
    with torch.no_grad():  # whatever the caller is in
        recording = gt.record(Classifier(), sample)
    assert np.array_equal(recording.gradient("second.weight"), recording.gradient("first.weight"))


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        ({"text": 5}, "5 is no text"),
        ({"text": b"x"}, "is no text"),
        ({"text": "a\ud800"}, "is no text"),
        ({"tokens": ["\udcff"]}, "is no text"),
        ({"tokens": None}, "'tokens' is None"),
        ({"tokens": "abc"}, "'tokens' is 'abc'"),
        ({"first_token": 3}, "'first_token' 3"),
    ],
)
def test_a_sample_that_says_something_odd_is_listed(beside: dict[str, Any], said: str, tmp_path: Path) -> None:
    good = {"x": X, "labels": LABELS}
    dumped = gt.dump(Classifier(), [good, {**good, **beside}], tmp_path / "s", detail="study")
    assert dumped.stored == 1
    assert said in dumped.failed[0][1]


def test_labels_of_a_sample_may_be_numbers_of_numpy(tmp_path: Path) -> None:
    labels = {"a": np.int64(1), "b": np.bool_(True)}
    with gt.dump(
        Classifier(), [{"x": X, "labels": LABELS}, {"x": X, "labels": labels}], tmp_path / "s"
    ).open() as store:
        rows = store.sql("select status, sample_label(sample, 'b') from samples order by sample").fetchall()
    assert rows == [("ok", None), ("invalid", "true")]  # the second lacks an input


def test_a_limit_is_all_that_is_read(traceable: gt.Traceable, tmp_path: Path) -> None:
    dumped = gt.dump(traceable, itertools.repeat("dog"), tmp_path / "s", detail="study", limit=2)
    assert dumped.stored == 2


@pytest.mark.parametrize("model", [5, Classifier, nn.LazyLinear(2)], ids=["number", "class", "lazy"])
def test_a_model_that_is_none(model: Any, tmp_path: Path) -> None:
    with pytest.raises(gt.ModelError, match=r"is wanted|has no size"):
        gt.dump(model, [{"x": X}], tmp_path / "s")


def test_a_file_is_no_folder(traceable: gt.Traceable, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("x")
    with pytest.raises(gt.StoreError, match="is a file"):
        gt.dump(traceable, ["dog"], tmp_path / "s")


def test_models_of_two_folders_have_their_own_modules(tmp_path: Path) -> None:
    for name, size in (("a", 4), ("b", 6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helper_of_models.py").write_text(f"N = {size}\n")
        (tmp_path / name / "model.py").write_text(
            "import torch, gradtrace as gt\nfrom helper_of_models import N\n"
            "class M(torch.nn.Module):\n"
            "    def __init__(self):\n        super().__init__()\n        self.l = torch.nn.Linear(N, 1)\n"
            "    def forward(self, x):\n        return self.l(x).sum()\n"
            "def build():\n    return gt.Traceable(M(), lambda text: gt.Encoded({'x': torch.ones(1, N)}))\n"
        )
    for name, size in (("a", 4), ("b", 6), ("a", 4)):
        assert gt.record(f"{tmp_path / name / 'model.py'}:build", "x").gradient("l.weight").shape == (1, size)
    sys.modules.pop("helper_of_models")
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(tmp_path))]


def test_a_shared_model_shows_no_code(tmp_path: Path) -> None:
    gt.export(Classifier(), [{"x": X, "labels": LABELS}], tmp_path / "m.onnx")
    written = (tmp_path / "m.onnx").read_bytes()
    assert b"test_api.py" in written
    assert b"secret" not in written
    assert str(Path(__file__).parent).encode() not in written
