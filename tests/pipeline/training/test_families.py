"""What holds for every family of the zoo: batches, training, checkpoints, objectives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.pipeline.training.runs import load_run
from gradtrace.pipeline.training.training import TrainingConfig, train
from gradtrace.pipeline.zoo import LOSS, family, family_names
from gradtrace.pipeline.zoo._transformer import Layer, sinusoids

from .families import CASES, IDS, Trial, corpus_name, trial

FAMILIES = dict(reversed(CASES))  # the first case of each
LANGUAGE_MODELS = [name for name in FAMILIES if family(name).task.name == "language modelling"]


def test_every_family_is_tried() -> None:
    assert sorted(FAMILIES) == family_names()


def between(lines: list[str]) -> list[str]:
    """A short, a middling and a long line."""
    ordered = sorted(lines, key=len)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]]


@pytest.mark.parametrize(("name", "values"), CASES, ids=IDS)
def test_a_padded_batch_has_the_loss_of_its_samples(name: str, values: dict[str, Any]) -> None:
    tried, task = trial(name, values), family(name).task
    samples = [tried.encode(line) for line in between(tried.lines)]
    batch = task.collate(samples)
    counts = [task.scored(sample.inputs) for sample in samples]
    assert task.scored(batch) == sum(counts)
    assert len({len(sample.tokens) for sample in samples}) == 3
    alone = [model_loss * n for model_loss, n in zip((loss(tried, s.inputs) for s in samples), counts, strict=True)]
    assert loss(tried, batch) == pytest.approx(sum(alone) / sum(counts), rel=1e-12)


def loss(tried: Trial, inputs: Any) -> float:
    value = tried.model(**inputs)
    assert value.shape == ()
    return float(value.detach())


@pytest.mark.parametrize(("name", "values"), CASES, ids=IDS)
def test_every_parameter_has_a_gradient(name: str, values: dict[str, Any]) -> None:
    tried = trial(name, values)
    inputs = family(name).task.collate([tried.encode(line) for line in tried.lines])
    tried.model(**inputs).backward()
    for parameter, value in tried.model.named_parameters():
        assert value.grad is not None, parameter
        assert bool(value.grad.any()), parameter


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_language_model_does_not_look_ahead(name: str) -> None:
    tried = trial(name, FAMILIES[name])
    ids = tried.encode(max(tried.lines, key=len)).inputs["input_ids"]
    changed = ids.clone()
    changed[0, 4:] = 2
    before, after = tried.model.logits(ids)[0], tried.model.logits(changed)[0]  # type: ignore[operator]
    assert torch.allclose(before[:4], after[:4], atol=1e-12)
    assert not torch.allclose(before[4:], after[4:])


@pytest.mark.parametrize("name", ["transformer_nmt", "attention_nmt"])
def test_a_translation_depends_on_every_source_word_and_not_on_later_target_words(name: str) -> None:
    tried = trial(name, FAMILIES[name])
    inputs = dict(tried.encode(tried.lines[0]).inputs)
    first = {**inputs, "targets": inputs["targets"].clone()}
    first["targets"][0, 1:] = -100  # only the first word counts
    later = {**first, "input_ids": first["input_ids"].clone()}
    later["input_ids"][0, 1:] = 2
    assert loss(tried, later) == pytest.approx(loss(tried, first), rel=1e-12)
    for position in range(inputs["source_ids"].shape[1]):
        other = {**first, "source_ids": first["source_ids"].clone()}
        other["source_ids"][0, position] = 0
        assert loss(tried, other) != pytest.approx(loss(tried, first), rel=1e-9)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_training(name: str, tmp_path: Path) -> None:
    config = TrainingConfig(
        model=name,
        hyperparameters=FAMILIES[name],
        corpus=corpus_name(name, 60),
        epochs=3,
        batch_size=8,
        learning_rate=0.02,
    )
    run = train(config, tmp_path / "run")
    assert run.metrics[-1].held_out_loss < run.metrics[0].held_out_loss
    again = train(config, tmp_path / "again")
    assert [row.held_out_loss for row in again.metrics] == [row.held_out_loss for row in run.metrics]
    assert held_out_loss(run.folder, name) == pytest.approx(run.metrics[-1].held_out_loss, rel=1e-5)


def held_out_loss(folder: Path, name: str) -> float:
    """That of the model loaded back, line by line."""
    traceable, task = load_run(folder), family(name).task
    total, count = 0.0, 0
    for line in (folder / "held_out.txt").read_text(encoding="utf-8").splitlines():
        encoded = traceable.encode(line)
        scored = task.scored(encoded.inputs)
        total += scored * traceable.model(**encoded.inputs).item()
        count += scored
    return total / count


def test_a_run_from_before_other_families(tmp_path: Path) -> None:
    run = train(TrainingConfig(corpus="agreement:40", epochs=1), tmp_path / "run")
    path = run.folder / "vocabulary.json"
    raw = json.loads(path.read_text())
    del raw["special"]
    path.write_text(json.dumps(raw))
    assert load_run(run.folder).encode("the zebra .").tokens == ["<eos>", "the", "<unk>", "."]


# Lines of each task


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("attention_nmt", "one side", "1 fields; source TAB target"),
        ("attention_nmt", "a\tb\tc", "3 fields"),
        ("attention_nmt", " \tb", "the source is empty"),
        ("transformer_nmt", "a\t", "the target is empty"),
        ("text_cnn", "no label", "no TAB"),
        ("text_cnn", "positive\t", "the text is empty"),
        ("text_cnn", "mixed\tthe film was good .", "no label 'mixed'. The model knows negative, positive"),
    ],
)
def test_lines_that_are_no_samples(name: str, line: str, message: str) -> None:
    with pytest.raises(SampleError, match=message):
        trial(name, FAMILIES[name]).encode(line)


def test_a_pair() -> None:
    encoded = trial("attention_nmt", FAMILIES["attention_nmt"]).encode("The dog sleeps.\tLe zèbre dort.")
    assert encoded.tokens == ["the", "dog", "sleeps", ".", "<eos>", "<eos>", "le", "<unk>", "dort", "."]
    assert {name: tuple(x.shape) for name, x in encoded.inputs.items()} == {
        "source_ids": (1, 5), "input_ids": (1, 5), "targets": (1, 5)
    }  # fmt: skip


# The agreement objective


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_agreement_is_the_difference_of_two_logits(name: str) -> None:
    tried = trial(name, FAMILIES[name])
    encode = family(name).task.encoder("agreement")
    encoded = encode("the dog near the boys\tis\tare\tsingular\t1", *tried.vocabularies)
    assert encoded.tokens == ["<eos>", "the", "dog", "near", "the", "boys"]
    (words,) = tried.vocabularies
    right, wrong = words.encode(["is", "are"])
    last = tried.model.logits(encoded.inputs["input_ids"])[0, -1]  # type: ignore[operator]
    assert loss(tried, encoded.inputs) == pytest.approx(float((last[right] - last[wrong]).detach()))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("the dog\tis", "2 of the fields prefix TAB right TAB wrong"),
        ("\tis\tare", "empty"),
        ("the dog\tis\tis", "same word"),
        ("the dog\tis\tdisagrees", "'disagrees' is not one word of the model's vocabulary"),
        ("the dog\tis not\tare not", "'is not' is not one word"),
    ],
)
def test_lines_without_agreement(line: str, message: str) -> None:
    tried = trial("rnn_lm", FAMILIES["rnn_lm"])
    with pytest.raises(SampleError, match=message):
        family("rnn_lm").task.encoder("agreement")(line, *tried.vocabularies)


def test_objectives_of_a_run(tmp_path: Path) -> None:
    run = train(TrainingConfig(corpus="agreement:60", epochs=1, hyperparameters={"hidden_size": 8}), tmp_path / "run")
    agreement = load_run(run.folder, objective="agreement")
    assert set(agreement.encode("the dog\tis\tare").inputs) == {"input_ids", "right", "wrong"}
    assert agreement.model.state_dict().keys() == load_run(run.folder, objective=LOSS).model.state_dict().keys()
    with pytest.raises(ModelError, match=r"no objective 'agrement'. Did you mean agreement\? It has loss, agreement"):
        load_run(run.folder, objective="agrement")
    with pytest.raises(ModelError, match="translation has no objective 'agreement'"):
        family("attention_nmt").task.encoder("agreement")


def test_a_language_model_wants_one_objective() -> None:
    tried = trial("rnn_lm", FAMILIES["rnn_lm"])
    with pytest.raises(TypeError, match="targets, or right and wrong"):
        tried.model(input_ids=torch.tensor([[1]]))


# Details


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoids(5, 4).double()
    for position in range(5):
        angles = torch.tensor([position, position / 100], dtype=torch.float64)
        assert torch.allclose(table[position, 0::2], angles.sin(), atol=1e-6)
        assert torch.allclose(table[position, 1::2], angles.cos(), atol=1e-6)
    assert sinusoids(3, 5).shape == (3, 5)


def test_too_many_positions() -> None:
    tried = trial("transformer_lm", {**FAMILIES["transformer_lm"], "longest": 3})
    with pytest.raises(ValueError, match="the model has 3"):
        tried.model(**tried.encode(tried.lines[0]).inputs)


def test_tied_weights_are_one_parameter() -> None:
    model = trial("transformer_nmt", {"tied": True}).model
    assert model.get_parameter("output.weight") is model.get_parameter("decoder.embedding.weight")


def test_gates_written_by_hand_are_those_of_torch() -> None:
    ours = trial("lstm_cell_lm", {"embedding_size": 6, "hidden_size": 5}).model
    theirs = trial("lstm_lm", {"embedding_size": 6, "hidden_size": 5})
    state = dict(theirs.model.state_dict())
    gates = ("input_gate", "forget_gate", "cell_gate", "output_gate")
    with torch.no_grad():
        for i, gate in enumerate(gates):
            rows = slice(5 * i, 5 * i + 5)
            ours.get_parameter(f"layers.0.{gate}.input.weight").copy_(state["lstm.weight_ih_l0"][rows])
            ours.get_parameter(f"layers.0.{gate}.recurrent.weight").copy_(state["lstm.weight_hh_l0"][rows])
            bias = state["lstm.bias_ih_l0"][rows] + state["lstm.bias_hh_l0"][rows]
            ours.get_parameter(f"layers.0.{gate}.input.bias").copy_(bias)
        for name in ("embedding.weight", "decoder.weight", "decoder.bias"):
            ours.get_parameter(name).copy_(state[name])
    inputs = theirs.encode(theirs.lines[0]).inputs
    assert float(ours(**inputs).detach()) == pytest.approx(loss(theirs, inputs), rel=1e-12)


@pytest.mark.parametrize(
    ("variant", "lacks"),
    [
        ("full", set()),
        ("no_simple_rnn", {"cell_gate.recurrent", "cell_gate.input"}),
        ("no_output_gate", {"cell_gate.recurrent", "cell_gate.input", "output_gate"}),
        ("memory_cell_only", {f"{gate}_gate.recurrent" for gate in ("input", "forget", "cell", "output")}),
    ],
)
def test_what_is_left_of_an_lstm(variant: str, lacks: set[str]) -> None:
    full = {name for name, _ in trial("lstm_variants", {}).model.named_modules()}
    names = {name for name, _ in trial("lstm_variants", {"variant": variant}).model.named_modules()}
    for part in lacks:
        assert f"layers.0.{part}" in full
        assert f"layers.0.{part}" not in names
    assert {"layers.0.cell", "layers.0.hidden", "layers.0.forget_gate"} <= names


def test_a_layer_attends_by_head() -> None:
    model = trial("transformer_lm", FAMILIES["transformer_lm"]).model
    layer = model.get_submodule("layers.0")
    assert isinstance(layer, Layer)
    seen: list[torch.Tensor] = []
    layer.self_attention.weights.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    model.logits(torch.tensor([[1, 2, 3]]))  # type: ignore[operator]
    assert seen[0].shape == (1, 2, 3, 3)
    assert torch.allclose(seen[0].sum(3), torch.ones(1, 2, 3, dtype=torch.float64))
    assert not bool(seen[0].triu(1).any())
