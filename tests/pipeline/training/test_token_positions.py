"""Translation models: every vertex is labelled with its own token, of the source or of the decoder.

What a vertex belongs to is found without any label: by changing one word and looking which values change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gradtrace.exporters.models import Encoded, SampleError
from gradtrace.exporters.recording.fingerprint import fingerprint
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.samples import read_samples
from gradtrace.queries import Store, open_store

from .families import CASES, Trial, trial

FAMILIES = ("transformer_nmt", "attention_nmt")
EMBEDDINGS = {
    "transformer_nmt": ("encoder.embedding.weight", "decoder.embedding.weight"),
    "attention_nmt": ("encoder.embedding.weight", "embedding.weight"),
}
OF_SOURCE = re.compile(r"encoder\..*|attention\.key|.*\.cross_attention\.(key|value)")
OF_STATE_BEFORE = re.compile(r"attention\..*|decoder\..*\.recurrent")
TIMELESS = {"bridge.0", "bridge.1", "loss"}


@dataclass(frozen=True)
class Pair:
    """A sample with S source words and T words that the decoder reads."""

    line: str
    encoded: Encoded

    @property
    def lengths(self) -> tuple[int, int]:
        return self.encoded.inputs["source_ids"].shape[1], self.encoded.inputs["input_ids"].shape[1]


@cache
def tried(name: str) -> tuple[Trial, TorchModel]:
    made = trial(name, next(values for family, values in CASES if family == name))
    return made, TorchModel(made.model, torch.float64)


def pair(name: str, equal: bool) -> Pair:
    """The shortest sample whose source and target are equally long, or are not."""
    pairs = [Pair(line, tried(name)[0].encode(line)) for line in tried(name)[0].lines]
    return min((p for p in pairs if (len(set(p.lengths)) == 1) == equal), key=lambda p: (sum(p.lengths), p.line))


def record(name: str, encoded: Encoded) -> Recording:
    return tried(name)[1].record(encoded.inputs, len(encoded.tokens), encoded.first_token)


def another_word(encoded: Encoded, name: str, place: int) -> Encoded:
    """The sample with another word at one place of an input."""
    ids = encoded.inputs[name].clone()
    ids[0, place] = 3 if ids[0, place] != 3 else 4
    return replace(encoded, inputs={**encoded.inputs, name: ids})


def components(recording: Recording) -> Iterator[tuple[str, NDArray[Any], NDArray[np.int64]]]:
    """Component, values and steps (-1: none) of the vertices of each operator."""
    for _, tensor in recording.vertex_tensors():
        if tensor.node is None:
            continue
        label, shape = recording.tape.calls[tensor.node].label, tuple(tensor.value.shape)
        if label.step is not None:
            steps = np.full(shape, label.step)
        elif "step" in tensor.axis_names:
            assert tensor.first_step is not None
            steps = tensor.first_step + np.indices(shape)[tensor.axis_names.index("step")]
        else:
            steps = np.full(shape, -1)
        yield label.component, tensor.value.data.detach().numpy().reshape(-1), steps.reshape(-1)


def changed_steps(name: str, encoded: Encoded, input_name: str, place: int) -> dict[str, set[int]]:
    """For each component the steps of the vertices that are others after a change of one word."""
    found: dict[str, set[int]] = {}
    before, after = (record(name, e) for e in (encoded, another_word(encoded, input_name, place)))
    assert fingerprint(before.tape) == fingerprint(after.tape)
    for (component, old, steps), (_, new, _) in zip(components(before), components(after), strict=True):
        found.setdefault(component, set()).update(steps[old != new].tolist())
    return {component: steps for component, steps in found.items() if steps}


@pytest.mark.parametrize("equal", [True, False], ids=["S=T", "S!=T"])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_vertex_has_a_token_of_its_own_side(name: str, equal: bool) -> None:
    sample = pair(name, equal)
    n_source, n_target = sample.lengths
    sides = {True: set(range(n_source)), False: set(range(n_source, n_source + n_target))}
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    for component, _, steps in components(record(name, sample.encoded)):
        of_source = OF_SOURCE.fullmatch(component) is not None
        found = set(steps.tolist()) - ({-1} if component in TIMELESS else set())
        assert found <= sides[of_source], component
        seen[of_source] |= found
    assert seen == sides


@pytest.mark.parametrize("equal", [True, False], ids=["S=T", "S!=T"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_word_of_the_decoder_changes_its_own_steps_and_later_ones(name: str, equal: bool) -> None:
    encoded = pair(name, equal).encoded
    n_source, n_target = pair(name, equal).lengths
    for place in (1, n_target - 1):  # the first position attends to itself alone, whatever its word
        changed = changed_steps(name, encoded, "input_ids", place)
        assert changed["loss"] >= {-1}
        first = {component: min(steps - {-1}) for component, steps in changed.items()}
        assert not any(OF_SOURCE.fullmatch(component) for component in first)
        later = {component for component in first if name == "attention_nmt" and OF_STATE_BEFORE.fullmatch(component)}
        assert {first[component] for component in later} <= {n_source + place + 1}
        scores = {component for component in first if component.endswith("self_attention.scores")}
        assert {first[component] for component in scores} <= {n_source}  # of every query and key, masked afterwards
        assert {first[component] for component in set(first) - later - scores} == {n_source + place}
        assert {"output", "loss"} < set(first)


@pytest.mark.parametrize("equal", [True, False], ids=["S=T", "S!=T"])
@pytest.mark.parametrize("name", FAMILIES)
def test_a_word_of_the_source_changes_its_own_steps(name: str, equal: bool) -> None:
    encoded = pair(name, equal).encoded
    n_source, n_target = pair(name, equal).lengths
    for place in (0, n_source - 2):
        changed = changed_steps(name, encoded, "source_ids", place)
        if name == "transformer_nmt":
            assert changed["encoder.embedding"] == changed["encoder.positions"] == {place}
            assert changed["encoder.layers.1.feed_forward.outer"] == set(range(n_source))
        else:
            assert changed["encoder.layer.l0.hidden"] == set(range(place, n_source))
            assert changed["encoder.layer.l0.reverse_hidden"] == set(range(place + 1))
        assert changed["output"] == set(range(n_source, n_source + n_target))


def test_keys_of_attention_are_no_steps() -> None:
    """Scores are of their query's token, whatever they look at."""
    n_source, n_target = pair("transformer_nmt", equal=False).lengths
    recording = record("transformer_nmt", pair("transformer_nmt", equal=False).encoded)
    found: dict[str, set[tuple[object, ...]]] = {"encoder": set(), "self": set(), "cross": set()}
    for _, tensor in recording.vertex_tensors():
        component = "" if tensor.node is None else recording.tape.calls[tensor.node].label.component
        if component.endswith("_attention.scores"):
            kind = "encoder" if component.startswith("encoder") else component.split(".")[-2].removesuffix("_attention")
            found[kind].add((tensor.first_step, *tensor.value.shape[2:], *tensor.axis_names[1:]))
    axes = ("head", "step", "key")
    assert found == {
        "encoder": {(0, n_source, n_source, *axes)},
        "self": {(n_source, n_target, n_target, *axes)},
        "cross": {(n_source, n_target, n_source, *axes)},
    }


def test_graphs_of_one_shape_with_other_tokens_are_others() -> None:
    encoded = pair("transformer_nmt", equal=True).encoded
    first = {name: number + 1 for name, number in encoded.first_token.items()}
    shifted = Encoded(encoded.inputs, ["<s>", *encoded.tokens], first)
    marks = [fingerprint(record("transformer_nmt", e).tape) for e in (encoded, shifted, encoded)]
    assert marks[0] == marks[2] != marks[1]


@pytest.mark.slow
def test_a_batch_has_the_steps_of_its_samples() -> None:
    encoded = pair("transformer_nmt", equal=True).encoded
    batch = replace(encoded, inputs={name: ids.expand(2, -1) for name, ids in encoded.inputs.items()})
    alone, together = (record("transformer_nmt", e) for e in (encoded, batch))
    for (component, _, one), (_, _, both) in zip(components(alone), components(together), strict=True):
        if component != "loss":  # which runs over both at once
            assert set(both.tolist()) == set(one.tolist()), component


# A store


@pytest.fixture(scope="module", params=FAMILIES)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Store]]:
    """Sample 0 has S = T, sample 1 has not."""
    name, folder = request.param, tmp_path_factory.mktemp("positions")
    lines = [pair(name, equal).line for equal in (True, False)]
    (folder / "pairs.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    made, model = tried(name)
    samples = read_samples(folder / "pairs.txt", made.encode)
    dump(model, samples, folder / "store", Settings(dtype="float64", methods=("greedy", "product")))
    with open_store(folder / "store") as store:
        yield name, store


@pytest.mark.parametrize("method", ["greedy", "product"])
@pytest.mark.parametrize("sample", [0, 1])
def test_token_importance(stored: tuple[str, Store], sample: int, method: str) -> None:
    """Its positions exist, and have the words that stand there."""
    name, store = stored
    encoded = pair(name, equal=sample == 0).encoded
    rows = store.query("token_importance", sample=sample, method=method).select("parameter_group", "step", "token")
    found = rows.fetchall()
    assert {step for _, step, _ in found} - {None} <= set(range(len(encoded.tokens)))
    assert all(token == (None if step is None else encoded.tokens[step]) for _, step, token in found)
    decoder = EMBEDDINGS[name][1]
    steps = {step for group, step, _ in found if group == decoder and step is not None}
    assert steps
    assert min(steps) >= pair(name, equal=sample == 0).lengths[0]


@pytest.mark.parametrize("sample", [0, 1])
def test_embeddings_enter_at_their_own_words(stored: tuple[str, Store], sample: int) -> None:
    """Entries: those of the encoder's words lie in the source, those of the decoder's in what it reads."""
    name, store = stored
    n_source, n_target = pair(name, equal=sample == 0).lengths
    found = store.sql(
        "select parameter_group, vertex_step(graph, vertex) as step "
        f"from entries where method = 'greedy' and sample = {sample}"
    ).fetchall()
    for group, wanted in zip(EMBEDDINGS[name], (range(n_source), range(n_source, n_source + n_target)), strict=True):
        steps = {step for entered, step in found if entered == group}
        assert steps
        assert steps <= set(wanted)


@pytest.mark.parametrize("sample", [0, 1])
def test_a_traced_embedding_goes_on_at_its_word(stored: tuple[str, Store], sample: int) -> None:
    name, store = stored
    made, (n_source, _) = tried(name)[0], pair(name, equal=sample == 0).lengths
    tokens = pair(name, equal=sample == 0).encoded.tokens
    sides = ((EMBEDDINGS[name][0], 0, tokens[:n_source]), (EMBEDDINGS[name][1], 1, tokens[n_source:]))
    for parameter, vocabulary, words in sides:
        for word in set(words):
            (row,) = made.vocabularies[vocabulary].encode([word])
            hop = store.trace(f"{parameter}[{row},0]", sample=sample).hops[1]
            assert hop["token"] == word
            assert (hop["step"] >= n_source) == (vocabulary == 1)


# Samples from files


def as_object(encoded: Encoded, **changes: Any) -> str:
    inputs = {name: x.tolist() for name, x in encoded.inputs.items()}
    given = {**inputs, "tokens": encoded.tokens, "first_token": dict(encoded.first_token)}
    return json.dumps({**given, **changes})


def read(path: Path, line: str) -> Encoded:
    path.write_text(line + "\n", encoding="utf-8")
    return read_samples(path, None).samples[0].encode()


def test_first_tokens_of_a_file(tmp_path: Path) -> None:
    encoded = pair("transformer_nmt", equal=False).encoded
    again = read(tmp_path / "s.jsonl", as_object(encoded))
    n_source, _ = pair("transformer_nmt", equal=False).lengths
    assert again.first_token == encoded.first_token == {"source_ids": 0, "input_ids": n_source}
    assert set(again.inputs) == set(encoded.inputs)
    marks = [fingerprint(record("transformer_nmt", e).tape) for e in (encoded, again)]
    assert marks[0] == marks[1]


@pytest.mark.parametrize(
    ("first_token", "message"),
    [
        ({"inputs": 0}, "names the input 'inputs', which the sample has not; it has source_ids, input_ids, targets"),
        ({"input_ids": -1}, "of 'input_ids' is -1; a whole number from 0 to"),
        ({"input_ids": 1000}, "of 'input_ids' is 1000; a whole number from 0 to"),
        ({"input_ids": 1.5}, "of 'input_ids' is 1.5; a whole number"),
        ({"input_ids": "3"}, "of 'input_ids' is '3'; a whole number"),
        ({"input_ids": True}, "of 'input_ids' is True; a whole number"),
        ([0, 4], r"s.jsonl:1: 'first_token' is \[0, 4\]; input names"),
        (None, "s.jsonl:1: 'first_token' is null; input names"),
    ],
)
def test_first_tokens_that_are_none(tmp_path: Path, first_token: Any, message: str) -> None:
    encoded = pair("transformer_nmt", equal=False).encoded
    with pytest.raises(SampleError, match=message):
        read(tmp_path / "s.jsonl", as_object(encoded, first_token=first_token))


def test_the_first_token_may_be_behind_the_last() -> None:
    """A text whose words are not among the tokens has steps all the same, with no word to them."""
    encoded = pair("transformer_nmt", equal=False).encoded
    n_source, _ = pair("transformer_nmt", equal=False).lengths
    sourced = Encoded(encoded.inputs, encoded.tokens[:n_source], encoded.first_token)
    pairs = zip(
        components(record("transformer_nmt", sourced)), components(record("transformer_nmt", encoded)), strict=True
    )
    for (component, _, steps), (_, _, wanted) in pairs:
        np.testing.assert_array_equal(steps, wanted, err_msg=component)
