"""A recording by a plan held against one by the rules."""

from __future__ import annotations

import torch
from torch import Tensor

from gradtrace.exporters.recording.fingerprint import fingerprint
from gradtrace.exporters.recording.recorder import Recorder, Recording


def afresh(recorder: Recorder, sample: dict[str, Tensor], n_tokens: int = 3) -> Recording:
    """The recording without plans."""
    kept, recorder._plans._plans = recorder._plans._plans, type(recorder._plans._plans)()
    try:
        return recorder.record(sample, n_tokens)
    finally:
        recorder._plans._plans = kept


def check_equal(found: Recording, wanted: Recording) -> None:
    """Every number and every vertex alike; nothing that was found out about one graph is taken for the other's."""
    found.tape.facts, wanted.tape.facts = {}, {}
    assert fingerprint(found.tape) == fingerprint(wanted.tape)
    assert found.loss == wanted.loss
    assert found.gradients.tobytes() == wanted.gradients.tobytes()
    assert found.values.tobytes() == wanted.values.tobytes()
    assert len(found.tape.calls) == len(wanted.tape.calls)
    for mine, others in zip(found.tape.calls, wanted.tape.calls, strict=True):
        for x, y in zip([*mine.inputs, mine.output], [*others.inputs, others.output], strict=True):
            assert (x is None) == (y is None)
            if x is not None and y is not None:
                assert x.data.detach().numpy().tobytes() == y.data.detach().numpy().tobytes()
                assert (x.vertices is None) == (y.vertices is None)
                assert x.vertices is None or torch.equal(x.vertices, y.vertices)  # type: ignore[arg-type]
