"""Small trained models, each as a torch module and written out scalar by scalar with the oracle's primitives.

`trained` takes a few steps of gradient descent, so that no two numbers are alike by their initialisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.zoo import family, make_hyperparameters

from .. import oracle
from ..oracle import Matrix, Output, Read, Row, Scalar, ScalarGraph, value

State = Mapping[str, NDArray[np.float64]]
VOCABULARY = 5
IDS, TARGETS = [1, 3, 1], [3, 1, 4]


@dataclass(frozen=True)
class Scalars:
    """A recording and the oracle's graph of the same sample."""

    recording: Recording
    graph: ScalarGraph


def trained(module: nn.Module, inputs: Mapping[str, Tensor], steps: int = 5) -> nn.Module:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    for _ in range(steps):
        optimizer.zero_grad()
        module(**inputs).backward()
        optimizer.step()
    return module.eval()


def trained_model(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """One of MODELS in float64, and its inputs."""
    torch.manual_seed(len(name))
    build, inputs, _ = MODELS[name]
    return trained(build().double(), {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}), inputs


def scalars(name: str, dtype: torch.dtype = torch.float64) -> Scalars:
    """One of MODELS, recorded in a dtype."""
    module, inputs = trained_model(name)
    write = MODELS[name][2]
    state = {key: tensor.double().numpy().copy() for key, tensor in module.state_dict().items()}
    fitting = {k: v.to(dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    recording = TorchModel(module.to(dtype), dtype).record(fitting, len(IDS))
    graph = write(state)
    return Scalars(recording, graph)


class Perceptron(nn.Module):
    """Two layers with tanh between, and cross entropy, on fixed features that are parameters too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 2)
        self.hidden, self.output = nn.Linear(2, 3), nn.Linear(3, VOCABULARY)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        logits = self.output(torch.tanh(self.hidden(self.embedding(input_ids[0]))))
        return F.cross_entropy(logits, targets[0])


class Attention(nn.Module):
    """One head of self-attention over embeddings, then a linear decoder and cross entropy."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 2)
        self.query, self.key, self.value = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.output = nn.Linear(2, VOCABULARY)

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        x = self.embedding(input_ids[0])
        scores = self.query(x) @ self.key(x).transpose(0, 1) / math.sqrt(2.0)
        return F.cross_entropy(self.output(scores.softmax(-1) @ self.value(x)), targets[0])


def _affine(graph: ScalarGraph, rows: Matrix, module: str) -> list[list[oracle.Vertex]]:
    """MatMul, then Add of the bias to every row."""
    products = oracle.matmul(graph, rows, graph.matrix(f"{module}.weight"))
    return oracle._add_bias(graph, products, graph.vector(f"{module}.bias"))


def _split(flat: list[oracle.Vertex], width: int) -> list[list[oracle.Vertex]]:
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _flat(rows: Matrix) -> Row:
    return [x for row in rows for x in row]


def _divide(graph: ScalarGraph, a: Row, b: Row) -> list[oracle.Vertex]:
    def rule(x: Scalar, y: Scalar) -> Output:
        p, q = value(x), value(y)
        return p / q, [Read(0, x, 1.0 / q), Read(1, y, -p / q**2)]

    return graph.record("Div", (rule(x, y) for x, y in zip(a, b, strict=True)))


def _softmax(graph: ScalarGraph, rows: Matrix) -> list[list[oracle.Vertex]]:
    width = len(rows[0])
    highest = [max(map(value, row)) for row in rows for _ in row]
    powers = _split(oracle.exp(graph, oracle.sub(graph, _flat(rows), highest)), width)
    sums = oracle.reduce_sum(graph, powers)
    return _split(_divide(graph, _flat(powers), [total for total in sums for _ in range(width)]), width)


def perceptron_graph(state: State) -> ScalarGraph:
    graph = ScalarGraph(state)
    hidden = _affine(graph, [graph.row("embedding.weight", token) for token in IDS], "hidden")
    squashed = _split(oracle.tanh(graph, _flat(hidden)), len(hidden[0]))
    oracle._cross_entropy(graph, _affine(graph, squashed, "output"), TARGETS)
    graph.backward()
    return graph


def attention_graph(state: State) -> ScalarGraph:
    graph = ScalarGraph(state)
    x = [graph.row("embedding.weight", token) for token in IDS]
    query, key, values = (oracle.matmul(graph, x, graph.matrix(f"{n}.weight")) for n in ("query", "key", "value"))
    products = oracle.matmul(graph, query, key)
    scores = _split(_divide(graph, _flat(products), [math.sqrt(2.0)] * len(IDS) ** 2), len(IDS))
    columns = [list(column) for column in zip(*values, strict=True)]
    mixed = oracle.matmul(graph, _softmax(graph, scores), columns)
    oracle._cross_entropy(graph, _affine(graph, mixed, "output"), TARGETS)
    graph.backward()
    return graph


def _language_model(name: str) -> nn.Module:
    sizes = make_hyperparameters(name, {"embedding_size": 2, "hidden_size": 2, "layers": 1})
    module: nn.Module = family(name).build(VOCABULARY, sizes)
    return module


def _recurrent_graph(kind: str) -> Callable[[State], ScalarGraph]:
    return lambda state: oracle.language_model_graph(state, kind, kind, 1, IDS, TARGETS)


SENTENCE = {"input_ids": torch.tensor([IDS]), "targets": torch.tensor([TARGETS])}
Model = tuple[Callable[[], nn.Module], dict[str, Tensor], Callable[[State], ScalarGraph]]
MODELS: dict[str, Model] = {
    "rnn": (lambda: _language_model("rnn_lm"), SENTENCE, _recurrent_graph("rnn")),
    "lstm": (lambda: _language_model("lstm_lm"), SENTENCE, _recurrent_graph("lstm")),
    "attention": (Attention, SENTENCE, attention_graph),
    "perceptron": (Perceptron, SENTENCE, perceptron_graph),
}
