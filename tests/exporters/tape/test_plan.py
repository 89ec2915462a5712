"""A replayed sample equals a fresh one bit for bit, and one of another graph is not replayed."""

from __future__ import annotations

from collections import Counter

import onnx.parser
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.models import SampleError
from gradtrace.exporters.onnx_graph.reader import read_graph
from gradtrace.exporters.recording.recorder import Recorder
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.tape.plan import Plan
from gradtrace.pipeline.corpora.corpora import load_corpus
from gradtrace.pipeline.corpora.vocabulary import build_vocabularies
from gradtrace.pipeline.zoo import family, family_names, make_hyperparameters

from ..paths.counted_checks import assert_counted_is_plain
from .replays import afresh, check_equal

CORPORA = {"language modelling": "agreement", "translation": "translation", "classification": "opinions"}


def recorder_of(module: nn.Module, inputs: dict[str, Tensor]) -> Recorder:
    """The recorder of a module's export, which has seen no sample."""
    model = TorchModel(module, torch.float32)
    model.record(inputs)
    (recorder,) = model._recorders
    recorder._plans.clear()
    return recorder


def replayed(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, *inputs: dict[str, Tensor]) -> list[bool]:
    """Whether each sample, recorded in turn, was replayed; a replayed one must equal a fresh one."""
    found: list[bool] = []
    run = Plan.run

    def watched(plan: Plan, leaves: dict[str, Tensor]) -> object:
        tape = run(plan, leaves)
        found[-1] |= tape is not None
        return tape

    monkeypatch.setattr(Plan, "run", watched)
    for sample in inputs:
        found.append(False)
        check_equal(recorder.record(sample, 3), afresh(recorder, sample))
    return found


@pytest.mark.parametrize("name", family_names())
def test_every_family(name: str) -> None:
    torch.manual_seed(0)
    kind = family(name)
    corpus = load_corpus(CORPORA[kind.task.name], kind.task.layout)
    vocabularies = build_vocabularies(kind.task.layout, corpus.train, 100)
    module = kind.build(*map(len, vocabularies), make_hyperparameters(name, {}))
    lines = [kind.task.encoder()(line, *vocabularies) for line in corpus.held_out[:60]]
    shapes = [tuple(tuple(x.shape) for x in line.inputs.values()) for line in lines]
    most = Counter(shapes).most_common(1)[0][0]
    alike = [line for line, shape in zip(lines, shapes, strict=True) if shape == most][:3]
    assert len(alike) > 1
    model = TorchModel(module, torch.float32, name)
    n_plans = []
    for line in alike:
        recording = model.record(line.inputs, len(line.tokens), line.first_token)
        recorder = model._of_shape[tuple((n, tuple(x.shape)) for n, x in line.inputs.items())]
        n_plans.append(sum(map(len, recorder._plans._plans.values())))
        other = Recorder(recorder.graph.in_dtype(torch.float32), torch.float32, None, recorder._input_names)
        check_equal(recording, other.record(line.inputs, len(line.tokens), line.first_token))
    assert len(set(n_plans)) == 1  # the others followed the first


class Masked(nn.Module):
    """Attention that does not see words 0, and the state of the last word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, words: Tensor, last: Tensor) -> Tensor:
        x = self.words(words)
        scores = (x @ x.mT).masked_fill((words == 0).unsqueeze(1), -1e9)
        return F.cross_entropy(self.out(scores.softmax(-1) @ x)[:, last], torch.tensor([1]))


def sample(*words: int, last: int = 2) -> dict[str, Tensor]:
    return {"words": torch.tensor([words]), "last": torch.tensor(last)}


def test_masks_and_indices_choose_vertices(monkeypatch: pytest.MonkeyPatch) -> None:
    """But the graph of a sample that reads its last word says that another token's state goes on."""
    torch.manual_seed(1)
    recorder = recorder_of(Masked(), sample(1, 2, 3))
    samples = [sample(1, 2, 3), sample(3, 3, 4), sample(0, 2, 3), sample(0, 1, 1), sample(1, 2, 3, last=0)]
    assert replayed(recorder, monkeypatch, *samples) == [False, True, True, True, False]


def test_axes_that_a_sample_brings_along() -> None:
    """Shapes do not tell that a square is summed the other way."""
    recorder = Recorder(read_graph(_SUMS, torch.float32), torch.float32)
    for axis, plans in ((0, 1), (1, 2), (0, 2), (1, 2)):
        recording = recorder.record({"axes": torch.tensor([axis])})
        assert sum(map(len, recorder._plans._plans.values())) == plans
        check_equal(recording, afresh(recorder, {"axes": torch.tensor([axis])}, 0))
        assert_counted_is_plain(recording, recorder.record({"axes": torch.tensor([axis])}, parameter_gradients=False))


_SUMS = onnx.parser.parse_model("""
<ir_version: 10, opset_import: ["" : 20]>
sums (int64[1] axes) => (float loss) <float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 10}> {
    rows = ReduceSum <keepdims = 0> (w, axes)
    squares = Mul (rows, rows)
    loss = ReduceSum <keepdims = 0> (squares)
}
""")


def test_a_wrong_index_is_said_as_always() -> None:
    recorder = recorder_of(Masked(), sample(1, 2, 3))
    recorder.record(sample(1, 2, 3))
    with pytest.raises(SampleError, match="index 7 is out of range for an axis of size 5"):
        recorder.record(sample(1, 7, 3))


def test_other_weights_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Masked()
    recorder = recorder_of(module, sample(1, 2, 3))
    before = recorder.record(sample(1, 2, 3), 3)
    with torch.no_grad():
        module.out.weight.mul_(2)
    recorder.load(module.state_dict())
    assert recorder.record(sample(1, 2, 3), 3).loss != before.loss
    assert replayed(recorder, monkeypatch, sample(1, 2, 3)) == [True]
