"""A batch of samples of one length gives what its samples give one by one, in every family of the zoo.

The losses are means over the batch, so that with B samples every gradient of a sample's activations is 1 / B of the one
it has alone, and a parameter's gradient is the mean of those it has alone.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gradtrace.exporters.models import ModelError
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.zoo import family_names
from gradtrace.pipeline.zoo._targets import PADDING

from .families import BATCH, CASES, alike, trial

FAMILIES: dict[str, dict[str, Any]] = dict(reversed(CASES))  # the first of each
CLOSE = {"rtol": 1e-9, "atol": 1e-14}

Part = tuple[str, str, int | None]


def by_part(recording: Recording) -> dict[Part, list[NDArray[Any]]]:
    """The gradients of every operator's output, by what the operator is: component, operator, step."""
    found: dict[Part, list[NDArray[Any]]] = defaultdict(list)
    for _, tensor in recording.vertex_tensors():
        if tensor.node is not None and tensor.first_vertex != recording.loss_vertex:
            call = recording.tape.calls[tensor.node]
            first = tensor.first_vertex or 0
            part = (call.label.component, call.primitive.name, call.label.step)
            found[part].append(recording.gradients[first : first + tensor.size])
    return found


def check_activations(batch: Recording, alone: list[Recording]) -> None:
    """Compare operator by operator; within one, the samples' elements may lie in any order."""
    together, apart = by_part(batch), [by_part(recording) for recording in alone]
    assert all(together.keys() == parts.keys() for parts in apart)
    for part, gradients in together.items():
        found, each = np.concatenate(gradients), [np.concatenate(parts[part]) for parts in apart]
        if found.size == each[0].size:  # computed from parameters alone: once for the batch
            np.testing.assert_allclose(found, np.mean(each, axis=0), err_msg=str(part), **CLOSE)
        else:
            wanted = np.concatenate(each) / BATCH
            assert found.size == wanted.size, part
            np.testing.assert_allclose(np.sort(found), np.sort(wanted), err_msg=str(part), **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_is_its_samples(name: str) -> None:
    tried = trial(name, FAMILIES[name])
    model = TorchModel(tried.model, torch.float64)
    samples = list(map(tried.encode, alike(tried)))
    alone = [model.record(e.inputs) for e in samples]
    joined = {key: torch.cat([e.inputs[key] for e in samples]) for key in samples[0].inputs}
    batch = model.record(joined)
    assert batch.loss == pytest.approx(np.mean([recording.loss for recording in alone]), rel=1e-12)
    assert len({recording.loss for recording in alone}) == BATCH
    n = batch.n_parameters
    gradients = np.mean([recording.gradients[:n] for recording in alone], axis=0)
    np.testing.assert_allclose(batch.gradients[:n], gradients, **CLOSE)
    check_activations(batch, alone)
    assert batch.n_vertices > n + 2 * (alone[0].n_vertices - n)


def test_every_family_is_tried() -> None:
    assert set(FAMILIES) == set(family_names())


@pytest.mark.slow
def test_a_padded_batch_is_refused() -> None:
    """An encoder that reads padded batches is exported for sentences of one length; others differ from torch's."""
    tried = trial("attention_nmt", FAMILIES["attention_nmt"])
    samples = list(map(tried.encode, alike(tried)[:2]))
    joined = {key: torch.cat([e.inputs[key] for e in samples]) for key in samples[0].inputs}
    joined["source_ids"][1, -2:] = PADDING
    with pytest.raises(ModelError, match="torch's"):
        TorchModel(tried.model, torch.float64).record(joined)
