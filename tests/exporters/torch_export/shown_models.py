"""What every family of models must show: conservation, and the parameter gradients of the original torch model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.torch_export.export import for_tracing

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
CONSERVED = {torch.float64: 1e-12, torch.float32: 1e-5}  # of the sum of |contributions|; 5e-16 and 2e-7 are found


@dataclass(frozen=True)
class Shown:
    """A model as exported, and a recording of each sample."""

    model: TorchModel
    recordings: list[Recording]

    @property
    def roles(self) -> set[str]:
        return {call.label.role for call in self.recordings[0].tape.calls}

    @property
    def n_exports(self) -> int:
        return len(self.model._recorders)

    @property
    def components(self) -> set[str]:
        return {call.label.component for call in self.recordings[0].tape.calls if call.primitive.kind != "copies"}


def show(
    module: nn.Module,
    samples: Sequence[Mapping[str, Tensor]],
    dtype: torch.dtype = torch.float64,
    tokens: Sequence[int] | None = None,
) -> Shown:
    """Record every sample with one TorchModel; raise when any of them fails.

    tokens: the number of tokens of each sample
    """
    traced = TorchModel(module, dtype)
    lengths = [0] * len(samples) if tokens is None else tokens
    recordings = [traced.record(inputs, n) for inputs, n in zip(samples, lengths, strict=True)]
    for inputs, recording in zip(samples, recordings, strict=True):
        assert conservation_error(recording) < CONSERVED[dtype]
        _same_gradients(module, inputs, recording, dtype)
    return Shown(traced, recordings)


def _same_gradients(module: nn.Module, inputs: Mapping[str, Tensor], recording: Recording, dtype: torch.dtype) -> None:
    """The gradients of all parameters, under the names of the user's state_dict, as torch's own backward gives them."""
    module = for_tracing(module, dtype) if dtype == torch.float64 else module.eval()  # no casts to float32 within
    given = {n: x.to(dtype) if x.is_floating_point() else x for n, x in inputs.items()}
    module.zero_grad()
    loss = module(**given)
    loss.backward()
    np.testing.assert_allclose(recording.loss, float(loss.detach()), rtol=TOLERANCE[dtype])
    parameters = dict(module.named_parameters(remove_duplicate=False))
    largest = max(float(p.grad.abs().max()) for p in parameters.values() if p.grad is not None)
    leaves = [t for t in recording.tape.tensors if t.kind == "parameter"]
    assert leaves
    for leaf in leaves:
        assert leaf.first_vertex is not None
        wanted = parameters[leaf.name].grad
        found = recording.gradients[leaf.first_vertex : leaf.first_vertex + leaf.size]
        assert tuple(parameters[leaf.name].shape) == tuple(leaf.value.shape)
        expected = np.zeros(leaf.size) if wanted is None else wanted.reshape(-1).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * largest, err_msg=leaf.name)
    in_graph = {id(parameters[leaf.name]) for leaf in leaves}
    for name, parameter in parameters.items():
        used = parameter.grad is not None and bool(parameter.grad.any())
        assert id(parameter) in in_graph or not used, f"{name} has a gradient and no vertices"


def check_attention_axes(recording: Recording) -> None:
    """Scores, weights and contexts have the heads on the third axis from the end, and name what lies beside them."""
    names = {
        "scores": ["head", "query", "key"],
        "weights": ["head", "query", "key"],
        "context": ["head", "query", None],
    }
    found = set()
    for call in recording.tape.calls:
        if call.primitive.kind != "copies" and call.label.role in names and call.output.data.dim() > 2:
            assert call.output.tensor is not None
            axes = recording.tape.tensors[call.output.tensor].axis_names[-3:]
            assert ["query" if name == "step" else name for name in axes] == names[call.label.role]
            found.add(call.label.role)
    assert found == set(names)
