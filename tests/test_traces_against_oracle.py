"""The whole line, export to sweep, against the oracle's scalar graph: every gradient, edge count and trace."""

import math
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch

from gradtrace.exporters.edges.blocks import edge_blocks, total_edges
from gradtrace.exporters.edges.conservation import conservation_error
from gradtrace.exporters.paths.best_edges import best_edges
from gradtrace.exporters.paths.best_table import BestEdges
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.zoo import family, make_hyperparameters

from .oracle import ScalarGraph, language_model_graph

VOCABULARY = 9
IDS = [0, 3, 5, 3, 8]
TARGETS = [3, 5, 3, 8, 1]
MODELS = [("lstm_lm", "lstm", 2), ("lstm_lm", "lstm", 1), ("rnn_lm", "rnn", 2), ("rnn_lm", "rnn", 1)]
DTYPES = [torch.float64, torch.float32]
CONSERVATION = {torch.float64: 1e-9, torch.float32: 1e-4}


@cache
def recorded(name: str, module: str, layers: int, dtype: torch.dtype) -> tuple[torch.nn.Module, Recording, ScalarGraph]:
    """A language model of the zoo, its recording, and the oracle's graph of the same sentence."""
    torch.manual_seed(layers)
    sizes = make_hyperparameters(name, {"embedding_size": 3, "hidden_size": 4, "layers": layers})
    model = family(name).build(VOCABULARY, sizes).to(dtype)
    inputs = {"input_ids": torch.tensor([IDS]), "targets": torch.tensor([TARGETS])}
    recording = TorchModel(model, dtype).record(inputs, len(IDS))
    state = {key: value.double().numpy() for key, value in model.state_dict().items()}
    return model, recording, language_model_graph(state, module, module, layers, IDS, TARGETS)


def contributions(recording: Recording, best: BestEdges, vertex: int) -> list[float]:
    """The contributions along the greedy path from a vertex; ends at the loss or where the best one is 0."""
    found = []
    while vertex != recording.loss_vertex and best.target[vertex, 0] >= 0 and best.score[vertex, 0] != 0:
        found.append(float(best.score[vertex, 0]))
        vertex = int(best.target[vertex, 0])
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "module", "layers"), MODELS)
def test_conservation_at_every_vertex(name: str, module: str, layers: int, dtype: torch.dtype) -> None:
    _, recording, _ = recorded(name, module, layers, dtype)
    total = np.zeros(recording.n_vertices)
    size = np.zeros(recording.n_vertices)
    for edges in edge_blocks(recording, block=1000):
        contributions = edges.contributions(recording.gradients).astype(np.float64)
        np.add.at(total, edges.src, contributions)
        np.add.at(size, edges.src, np.abs(contributions))
    total[recording.loss_vertex] = size[recording.loss_vertex] = 1.0
    assert np.all(np.abs(total - recording.gradients) <= CONSERVATION[dtype] * size)
    assert conservation_error(recording) <= CONSERVATION[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "module", "layers"), MODELS)
def test_gradients_are_those_of_the_torch_model(name: str, module: str, layers: int, dtype: torch.dtype) -> None:
    model, recording, _ = recorded(name, module, layers, dtype)
    loss = model(input_ids=torch.tensor([IDS]), targets=torch.tensor([TARGETS]))
    gradients = dict(
        zip(dict(model.named_parameters()), torch.autograd.grad(loss, list(model.parameters())), strict=True)
    )
    found = [t for _, t in recording.vertex_tensors() if t.kind == "parameter"]
    assert [t.name for t in found] == list(model.state_dict())
    for tensor in found:
        assert tensor.first_vertex is not None
        flat = recording.gradients[tensor.first_vertex : tensor.first_vertex + tensor.size]
        wanted = gradients[tensor.name].reshape(-1).numpy()
        np.testing.assert_allclose(flat, wanted, rtol=CONSERVATION[dtype], atol=CONSERVATION[dtype] * 1e-2)


@pytest.mark.parametrize(("name", "module", "layers"), MODELS)
def test_the_graph_has_the_oracles_vertices_and_edges(name: str, module: str, layers: int) -> None:
    _, recording, oracle = recorded(name, module, layers, torch.float64)
    assert recording.loss == pytest.approx(oracle.loss, rel=1e-12)
    assert recording.n_vertices == oracle.n_vertices
    assert total_edges(recording) == oracle.n_edges
    assert sum(len(edges.src) for edges in edge_blocks(recording)) == oracle.n_edges


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "module", "layers"), MODELS)
def test_every_parameters_trace_is_the_oracles(name: str, module: str, layers: int, dtype: torch.dtype) -> None:
    """Paths are compared by their contributions, which no two edges share by chance."""
    _, recording, oracle = recorded(name, module, layers, dtype)
    best = best_edges(recording, keep=1)
    rtol, narrow = (1e-9, 1e-12) if dtype is torch.float64 else (1e-3, 1e-3)
    statuses: dict[str, int] = {}
    compared = 0
    for tensor in (t for _, t in recording.vertex_tensors() if t.kind == "parameter"):
        assert tensor.first_vertex is not None
        for flat, index in enumerate(np.ndindex(tuple(tensor.value.shape))):
            vertex = tensor.first_vertex + flat
            wanted = oracle.trace(tensor.name, index)
            statuses[wanted.status] = statuses.get(wanted.status, 0) + 1
            if wanted.status == "absent":
                assert best.target[vertex, 0] == -1
            elif oracle.margin(tensor.name, index) > narrow:
                found: npt.NDArray[np.float64] = np.array(contributions(recording, best, vertex))
                assert found == pytest.approx(wanted.contributions, rel=rtol, abs=rtol * 1e-3), (tensor.name, index)
                compared += 1
    assert statuses["absent"] > 0
    assert compared >= 0.95 * sum(n for status, n in statuses.items() if status != "absent")


def test_margins_of_these_models_are_wide_enough_to_compare() -> None:
    _, _, oracle = recorded("lstm_lm", "lstm", 2, torch.float64)
    margins = [oracle.margin("lstm.weight_hh_l0", index) for index in np.ndindex(16, 4)]
    assert min(margin for margin in margins if not math.isnan(margin)) > 1e-9
