"""Operators of a Python loop over time carry the step; other repetitions do not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradtrace.exporters.onnx_graph.loops import ONCE, Repetition
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.tape.token_spans import TokenSpan

STEPS = 4


class Looped(nn.Module):
    """A cell called once per step, and a layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.cell = nn.LSTMCell(3, 3)
        self.twice = nn.Linear(3, 3)

    def forward(self, input_ids: Tensor) -> Tensor:
        x = self.embedding(input_ids)
        state = (x.new_zeros(1, 3), x.new_zeros(1, 3))
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        h = state[0]
        for _ in range(2):
            h = torch.tanh(self.twice(h))
        return h.sum()


def test_the_iterations_of_a_loop_over_time_are_steps() -> None:
    torch.manual_seed(0)
    recording = TorchModel(Looped(), torch.float64).record({"input_ids": torch.tensor([[1, 5, 2, 5]])}, STEPS)
    steps: dict[str, set[int | None]] = {}
    for call in recording.tape.calls:
        if call.primitive.kind != "copies":
            steps.setdefault(call.label.module, set()).add(call.label.step)
    assert steps["cell"] == set(range(STEPS))
    assert steps["twice"] == {None}
    in_order = [c.label.step for c in recording.tape.calls if c.label.module == "cell" and c.primitive.name == "Tanh"]
    assert in_order == sorted(in_order, key=lambda step: -1 if step is None else step)


def test_uneven_repetitions_are_no_steps() -> None:
    ids, source = frozenset({"ids"}), frozenset({"source"})
    three, one = [TokenSpan("source", 1, 0, 2), TokenSpan("ids", 1, 2, 3)], [TokenSpan("ids", 1, 0, 1)]
    assert [Repetition(k, 6, ids | source).step(three) for k in range(6)] == [2, 2, 3, 3, 4, 4]
    assert [Repetition(k, 6, source).step(three) for k in range(6)] == [0, 0, 0, 1, 1, 1]
    assert Repetition(0, 5, ids).step(three) is None
    assert Repetition(0, 3, ids).step(one) is None
    assert Repetition(0, 3, ids).step([TokenSpan("ids", 1, 0, 3, "length")]) is None
    assert Repetition(0, 3, frozenset({"mask"})).step(three) is None
    assert ONCE.step([]) is None


def test_exports_for_several_lengths_share_the_parameters() -> None:
    torch.manual_seed(0)
    module = Looped().double()
    model = TorchModel(module, torch.float64)
    recordings = [model.record({"input_ids": torch.arange(n)[None] % 7}, n) for n in (3, 4, 5)]
    parameters = [[t.value.data for t in r.tape.tensors if t.kind == "parameter"] for r in recordings]
    assert all(a is b for others in parameters[1:] for a, b in zip(parameters[0], others, strict=True))
    assert recordings[0].parameter_vertices is recordings[2].parameter_vertices
    twice = {name: 2 * x for name, x in module.state_dict().items()}
    model.load(twice, "twice the weights")
    module.load_state_dict(twice)
    for n in (3, 4, 5):
        ids = torch.arange(n)[None] % 7
        assert abs(model.record({"input_ids": ids}, n).loss - float(module(ids).detach())) < 1e-12
