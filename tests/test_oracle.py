"""The oracle itself: against torch, finite differences, pencil and paper, and its own literal definitions."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import Phase, find, given, settings
from torch import nn

from .oracle import (
    Edge,
    RandomDag,
    ScalarGraph,
    brute_gradients,
    brute_greedy,
    brute_paths,
    language_model_graph,
    random_dags,
)

Floats = npt.NDArray[np.float64]
MODULES: dict[str, Callable[..., nn.RNNBase]] = {"lstm": nn.LSTM, "rnn": nn.RNN, "gru": nn.GRU}
VOCABULARY = 7
MODELS = [("lstm", 1, 0), ("lstm", 2, 1), ("lstm", 2, 2), ("rnn", 1, 3), ("rnn", 2, 4), ("gru", 1, 5), ("gru", 2, 6)]


class LanguageModel(nn.Module):
    """The original that the oracle imitates."""

    def __init__(self, kind: str, layers: int, embedding: int = 3, units: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, embedding)
        self.add_module(kind, MODULES[kind](embedding, units, layers, batch_first=True))
        self.decoder = nn.Linear(units, VOCABULARY)
        self.kind = kind

    def forward(self, input_ids: list[int], targets: list[int]) -> torch.Tensor:
        """The mean cross entropy over the positions."""
        hidden, _ = getattr(self, self.kind)(self.embedding(torch.tensor([input_ids])))
        return nn.functional.cross_entropy(self.decoder(hidden)[0], torch.tensor(targets))


def random_case(kind: str, layers: int, seed: int, steps: int = 5) -> tuple[LanguageModel, list[int], list[int]]:
    """A random model in float64 and a sentence that repeats tokens and leaves some out."""
    torch.manual_seed(seed)
    model = LanguageModel(kind, layers).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.8)
    words = torch.randint(VOCABULARY - 2, (steps + 1,)).tolist()
    return model, words[:-1], words[1:]


def arrays(model: LanguageModel) -> dict[str, Floats]:
    """The state dict as numpy copies."""
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def oracle_of(kind: str, layers: int, seed: int) -> ScalarGraph:
    """The oracle on a random case."""
    model, inputs, targets = random_case(kind, layers, seed)
    return language_model_graph(arrays(model), kind, kind, layers, inputs, targets)


def every_element(state: dict[str, Floats]) -> list[tuple[str, tuple[int, ...]]]:
    """All parameter elements by name and index."""
    return [(name, index) for name, array in state.items() for index in np.ndindex(*array.shape)]


@pytest.mark.parametrize(("kind", "layers", "seed"), MODELS)
def test_loss_and_gradients_equal_torch(kind: str, layers: int, seed: int) -> None:
    model, inputs, targets = random_case(kind, layers, seed)
    graph = language_model_graph(arrays(model), kind, kind, layers, inputs, targets)
    loss = model(inputs, targets)
    loss.backward()
    assert graph.loss == pytest.approx(loss.item(), rel=1e-12)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        expected = parameter.grad.numpy()
        np.testing.assert_allclose(graph.gradient(name), expected, rtol=1e-12, atol=1e-14 * np.abs(expected).max())


@pytest.mark.parametrize("kind", MODULES)
def test_other_module_names(kind: str) -> None:
    model, inputs, targets = random_case(kind, 1, 0)
    renamed = {name.replace(f"{kind}.", "encoder.core."): array for name, array in arrays(model).items()}
    graph = language_model_graph(renamed, kind, "encoder.core", 1, inputs, targets)
    assert graph.loss == oracle_of(kind, 1, 0).loss


@pytest.mark.parametrize(("kind", "layers", "seed"), MODELS)
def test_conservation(kind: str, layers: int, seed: int) -> None:
    assert oracle_of(kind, layers, seed).conservation_error() < 1e-14


@pytest.mark.parametrize("kind", MODULES)
def test_finite_differences(kind: str) -> None:
    model, inputs, targets = random_case(kind, 2, 7, steps=3)
    state = arrays(model)
    graph = language_model_graph(state, kind, kind, 2, inputs, targets)

    def loss_with(name: str, index: tuple[int, ...], change: float) -> float:
        moved = {key: array.copy() for key, array in state.items()}
        moved[name][index] += change
        return language_model_graph(moved, kind, kind, 2, inputs, targets).loss

    for name, array in state.items():
        index = tuple(size // 2 for size in array.shape)
        slope = (loss_with(name, index, 1e-5) - loss_with(name, index, -1e-5)) / 2e-5
        assert graph.gradient(name)[index] == pytest.approx(slope, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("kind", "layers", "seed"), MODELS)
def test_traces_agree_with_the_literal_definition(kind: str, layers: int, seed: int) -> None:
    model, inputs, targets = random_case(kind, layers, seed)
    state = arrays(model)
    graph = language_model_graph(state, kind, kind, layers, inputs, targets)
    routes = brute_greedy(graph.edges, graph.n_vertices - 1)
    for number, (name, index) in enumerate(every_element(state)):  # parameters are numbered first, in order
        trace = graph.trace(name, index)
        if number not in routes:  # an embedding row that no token uses
            assert (trace.status, name) == ("absent", "embedding.weight")
            assert index[0] not in inputs
            continue
        assert trace.status == routes[number].status
        assert trace.vertices == [edge.dst for edge in routes[number].edges]
        assert trace.contributions == pytest.approx(list(routes[number].contributions), rel=1e-12)


@pytest.mark.parametrize("kind", MODULES)
def test_structure_of_one_step(kind: str) -> None:
    """Recurrent weights meet only the zero state: dead, not absent."""
    model, inputs, targets = random_case(kind, 1, 0, steps=1)
    graph = language_model_graph(arrays(model), kind, kind, 1, inputs, targets)
    dead = graph.trace(f"{kind}.weight_hh_l0", (0, 0))
    assert (dead.status, dead.operators, dead.values) == ("dead", [], [])
    used = graph.trace(f"{kind}.bias_ih_l0", (0,))
    assert used.status == "loss"
    assert used.values[-1] == graph.loss
    assert used.operators[-1] == "ReduceMean"
    assert not graph.gradient(f"{kind}.weight_hh_l0").any()


@pytest.mark.parametrize(("kind", "per_step"), [("lstm", 4 * 6 + 5), ("rnn", 6), ("gru", 6 + 6 + 7 + 4)])
def test_number_of_operators(kind: str, per_step: int) -> None:
    """A gate is six operators: two products, two biases, their sum and the squashing."""
    model, inputs, targets = random_case(kind, 1, 0, steps=2)
    graph = language_model_graph(arrays(model), kind, kind, 1, inputs, targets)
    decoder, loss = ["MatMul", "Add"], ["Sub", "Exp", "ReduceSum", "Log", "Sub", "ReduceMean"]
    assert len(graph.operators) == 2 * per_step + len(decoder + loss)
    assert [operator.type for operator in graph.operators[2 * per_step :]] == decoder + loss


def pencil_model() -> ScalarGraph:
    """One unit, one step. h = tanh(ln 2) = 3/5, logits differ by ln 3, so p = (1/4, 3/4) and loss = ln 4."""
    state = {
        "embedding.weight": [[math.log(2)], [5.0]],
        "rnn.weight_ih_l0": [[1.0]],
        "rnn.weight_hh_l0": [[3.0]],
        "rnn.bias_ih_l0": [0.0],
        "rnn.bias_hh_l0": [0.0],
        "decoder.weight": [[0.0], [1.0]],
        "decoder.bias": [0.0, math.log(3) - 0.6],
    }
    return language_model_graph({name: np.array(rows) for name, rows in state.items()}, "rnn", "rnn", 1, [0], [0])


def test_pencil_trace_of_an_embedding() -> None:
    """g(h) = 0·(-3/4) + 1·(3/4), times 1 - h² = 16/25 makes 12/25; from h on, logit 1 pushes against the target."""
    graph = pencil_model()
    trace = graph.trace("embedding.weight", (0, 0))
    recurrence, softmax = ["MatMul", "Add", "Add", "Tanh"], ["MatMul", "Add", "Sub", "Exp", "ReduceSum", "Log"]
    assert graph.loss == pytest.approx(math.log(4))
    assert trace.status == "loss"
    assert trace.operators == [*recurrence, *softmax, "Sub", "ReduceMean"]
    assert trace.contributions == pytest.approx([0.48] * 4 + [0.75] * 6 + [1, 1])
    ln2, ln3, ln4 = math.log(2), math.log(3), math.log(4)
    after_max = [0.6, ln3, 0, 1, 4 / 3, ln4 - ln3, ln4, ln4]
    assert trace.values == pytest.approx([ln2, ln2, ln2, 0.6, *after_max], abs=1e-15)
    assert graph.margin("embedding.weight", (0, 0)) == 1.0  # only h chooses, and logit 0 has weight 0


def test_pencil_trace_of_the_target_bias() -> None:
    """The shifted target logit loses 1 directly and gains 1/4 through the sum: the greedy trace takes the loss."""
    graph = pencil_model()
    trace = graph.trace("decoder.bias", (0,))
    assert trace.operators == ["Add", "Sub", "Sub", "ReduceMean"]
    assert trace.contributions == pytest.approx([-0.75, -0.75, -1, 1])
    assert graph.margin("decoder.bias", (0,)) == pytest.approx(0.75)


def test_pencil_statuses_and_paths() -> None:
    graph = pencil_model()
    assert graph.trace("rnn.weight_hh_l0", (0, 0)).status == "dead"
    assert graph.trace("embedding.weight", (1, 0)).status == "absent"
    assert graph.margin("embedding.weight", (1, 0)) == math.inf
    products = [path.product for path in graph.all_paths("rnn.bias_ih_l0", (0,))]
    assert sorted(products) == pytest.approx([0, 0, 0.48])  # two through logit 0, whose weight is 0; one through 1
    assert math.fsum(products) == pytest.approx(graph.gradient("rnn.bias_ih_l0")[0])


def test_pencil_counts_and_slots() -> None:
    """Ten parameters; a, b, c, d, e, h; y, z, s and e for two words; sum, log, difference, mean."""
    graph = pencil_model()
    assert graph.n_vertices == 10 + 6 + 2 * 4 + 4
    edges = Counter((graph.operators[edge.operator].type, edge.slot) for edge in graph.edges)
    reduced = {("Exp", 0): 2, ("ReduceSum", 0): 2, ("Log", 0): 1, ("ReduceMean", 0): 1, ("Tanh", 0): 1}
    # W_hh multiplies a constant, which has no edge through slot 0; the maximum is one too, through slot 1 of a Sub.
    products = {("MatMul", 0): 1 + 2, ("MatMul", 1): 1 + 1 + 2, ("Add", 0): 3 + 2, ("Add", 1): 3 + 2}
    assert edges == {**reduced, **products, ("Sub", 0): 2 + 1, ("Sub", 1): 1}
    assert graph.n_edges == 28


def test_tied_units_and_steps_go_to_the_first() -> None:
    """Two equal units, and no recurrence, so that both uses of a token tie as well."""
    shapes = {"weight_ih_l0": (2, 1), "weight_hh_l0": (2, 2), "bias_ih_l0": (2,), "bias_hh_l0": (2,)}
    state = {f"rnn.{name}": np.full(shape, "weight_ih" in name, dtype=float) for name, shape in shapes.items()}
    state |= {"embedding.weight": np.ones((2, 1)), "decoder.bias": np.zeros(2)}
    state["decoder.weight"] = np.array([[1.0, 1.0], [0.0, 0.0]])
    graph = language_model_graph(state, "rnn", "rnn", 1, [1, 1], [0, 0])
    trace = graph.trace("embedding.weight", (1, 0))
    first = next(number for number, vertex in enumerate(graph.vertices) if vertex.operator == 0)
    assert trace.vertices[0] == first
    assert trace.places[0] == "layer 0 step 0 hidden"
    assert graph.margin("embedding.weight", (1, 0)) == 0


def reads(graph: ScalarGraph, op_type: str, place: str) -> set[tuple[int, str]]:
    """The slots of a place's operators of one type, each with where its source was computed."""
    wanted = {number for number, operator in enumerate(graph.operators) if operator == (op_type, place)}
    sources = [(edge.slot, graph.vertices[edge.src].operator) for edge in graph.edges if edge.operator in wanted]
    return {(slot, graph.operators[source].place if source >= 0 else "parameter") for slot, source in sources}


def test_slots_of_an_lstm_step() -> None:
    graph = oracle_of("lstm", 1, 0)
    here, before = "layer 0 step 1 ", "layer 0 step 0 "
    kept = {(0, here + "forget_gate"), (1, before + "cell")}
    written = {(0, here + "input_gate"), (1, here + "cell_gate")}
    assert reads(graph, "Mul", here + "cell") == kept | written
    assert reads(graph, "Mul", here + "hidden") == {(0, here + "output_gate"), (1, here + "hidden")}
    recurrent = {(0, before + "hidden"), (0, "parameter"), (1, "parameter")}
    assert reads(graph, "MatMul", here + "input_gate") == recurrent


def test_path_products_sum_to_the_gradient() -> None:
    model, inputs, targets = random_case("lstm", 1, 8, steps=2)
    graph = language_model_graph(arrays(model), "lstm", "lstm", 1, inputs, targets)
    name, index = "lstm.weight_hh_l0", (5, 1)
    products = [path.product for path in graph.all_paths(name, index)]
    assert math.fsum(products) == pytest.approx(graph.gradient(name)[index], rel=1e-12)


def test_saturated_gates_do_not_overflow() -> None:
    model, inputs, targets = random_case("lstm", 1, 9)
    state = arrays(model)
    state["lstm.bias_ih_l0"][:] = np.repeat([900.0, -900.0, 900.0, 900.0], 4)
    graph = language_model_graph(state, "lstm", "lstm", 1, inputs, targets)
    assert math.isfinite(graph.loss)
    assert graph.trace("lstm.bias_ih_l0", (0,)).status == "dead"


# Explicit edge lists


def test_ties_go_to_operator_then_slot_then_index() -> None:
    """Vertices 1 and 2 share an operator: slot 0 into vertex 2 wins over slot 1 into vertex 1."""
    halves = [Edge(1, 3, 0, 1.0, 1), Edge(2, 3, 0, 1.0, 1)]
    candidates = [Edge(0, 3, 0, -1.0, 1), Edge(0, 1, 1, 1.0, 0), Edge(0, 2, 1, -1.0, 0), Edge(0, 2, 0, 1.0, 0)]
    winners = []
    while candidates:
        winners.append(brute_greedy(candidates + halves, 3)[0].edges[0])
        candidates.remove(winners[-1])
    assert [(edge.operator, edge.slot, edge.dst) for edge in winners] == [(0, 0, 2), (0, 1, 1), (0, 1, 2), (1, 0, 3)]


def test_cancellation_is_dead_before_it_and_alive_at_it() -> None:
    """The two uses of vertex 1 cancel, so nothing arrives at 0, although every derivative is alive."""
    edges = [Edge(0, 1, 0, 5.0, 0), Edge(1, 2, 0, 1.0, 1), Edge(1, 2, 1, -1.0, 1)]
    routes = brute_greedy(edges, 2)
    assert routes[0].status == "dead"
    assert routes[1].status == "loss"  # cancellation leaves |w| = 1 on both edges: the definition walks on
    assert routes[1].contributions == (1.0,)


@given(random_dags())
def test_random_dags_are_operator_like(dag: RandomDag) -> None:
    firsts = np.cumsum([dag.n_parameters, *dag.outputs])
    assert dag.n_vertices <= 12
    assert len({edge[:3] for edge in dag.edges}) == len(dag.edges)
    for edge in dag.edges:
        assert edge.src < firsts[edge.operator] <= edge.dst < firsts[edge.operator + 1]


@given(random_dags())
def test_paths_conserve_exactly(dag: RandomDag) -> None:
    """On random DAGs arithmetic is exact: the gradient is the sum over all paths, to the last bit."""
    for vertex, gradient in brute_gradients(dag.edges, dag.loss).items():
        paths = brute_paths(dag.edges, vertex, dag.loss)
        assert math.fsum(path.product for path in paths) == gradient
        assert [abs(path.product) for path in paths] == sorted((abs(path.product) for path in paths), reverse=True)


@given(random_dags())
def test_greedy_takes_a_largest_contribution(dag: RandomDag) -> None:
    gradients = brute_gradients(dag.edges, dag.loss)
    for start, route in brute_greedy(dag.edges, dag.loss).items():
        here = start
        for edge, contribution in zip(route.edges, route.contributions, strict=True):
            sizes = [abs(gradients[other.dst] * other.derivative) for other in dag.edges if other.src == here]
            assert edge.src == here
            assert abs(contribution) == max(sizes) > 0
            here = edge.dst
        assert (here == dag.loss) == (route.status == "loss")


def has_double_edge(dag: RandomDag) -> bool:
    """One pair through both slots."""
    return len({edge[:2] for edge in dag.edges}) < len(dag.edges)


def has_cancellation(dag: RandomDag) -> bool:
    """A vertex without gradient although contributions leave it."""
    gradients = brute_gradients(dag.edges, dag.loss)
    return any(gradients[edge.src] == 0 != gradients[edge.dst] * edge.derivative for edge in dag.edges)


def has_status(status: str) -> Callable[[RandomDag], bool]:
    """A vertex whose trace ends so."""
    return lambda dag: any(route.status == status for route in brute_greedy(dag.edges, dag.loss).values())


WANTED = [has_double_edge, has_cancellation, RandomDag.gradient_ties, has_status("dead"), has_status("absent")]


@pytest.mark.parametrize("wanted", WANTED)
def test_random_dags_reach_the_hard_cases(wanted: Callable[[RandomDag], bool]) -> None:
    find(random_dags(), wanted, settings=settings(max_examples=2000, database=None, phases=[Phase.generate]))
