"""A brute-force gradient graph of recurrent language models, one Python object per scalar.

It shares no code with the product: no tensors, no autograd, no ONNX, only the chain rule on floats in the manner of
micrograd. It is slow and small on purpose, so that a disagreement is the product's fault until proven otherwise.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

Status = Literal["loss", "dead", "absent"]
Floats = npt.NDArray[np.float64]


class Edge(NamedTuple):
    """One edge; vertices are numbered operator by operator, so `dst` also orders the elements of one operator."""

    src: int
    dst: int
    slot: int
    derivative: float
    operator: int  # order of the operator that computes dst


class Route(NamedTuple):
    """A greedy trace as edges, each with its contribution."""

    status: Status
    edges: tuple[Edge, ...]
    contributions: tuple[float, ...]


class ProductPath(NamedTuple):
    """A path to the loss with the product of its derivatives."""

    edges: tuple[Edge, ...]
    product: float


@dataclass(frozen=True)
class Trace:
    """A greedy trace of a parameter element; every list has one entry per hop."""

    status: Status
    contributions: list[float]
    values: list[float]
    operators: list[str]
    places: list[str]  # for reading failures, e.g. "layer 0 step 2 forget_gate"
    vertices: list[int]


# --------------------------------------------------------------------------------------------------------------------
# Scalars and the graph


@dataclass(slots=True, eq=False)
class Vertex:
    """One scalar, with the edges that leave it."""

    number: int
    value: float
    operator: int  # -1 for a parameter
    gradient: float = 0.0
    edges: list[Edge] = field(default_factory=list)


class Operator(NamedTuple):
    """One primitive; its order is its position in the graph's list."""

    type: str
    place: str


Scalar = Vertex | float  # a plain float is a constant: it has no edges
Row = Sequence[Scalar]
Matrix = Sequence[Row]


class Read(NamedTuple):
    """An output element's reading of one scalar through one slot."""

    slot: int
    scalar: Scalar
    derivative: float


Output = tuple[float, list[Read]]


def value(scalar: Scalar) -> float:
    """The number behind a vertex or a constant."""
    return scalar.value if isinstance(scalar, Vertex) else scalar


class ScalarGraph:
    """Scalars and edges in order of creation, which is a topological order."""

    def __init__(self, state: Mapping[str, npt.NDArray[np.floating]]) -> None:
        self.vertices: list[Vertex] = []
        self.operators: list[Operator] = []
        self.place = ""  # where the operators being recorded belong
        self._shapes = {name: array.shape for name, array in state.items()}
        self._parameters = {
            name: {index: self._vertex(float(array[index]), -1) for index in np.ndindex(*array.shape)}
            for name, array in state.items()
        }

    # Recording

    def _vertex(self, number: float, operator: int) -> Vertex:
        vertex = Vertex(len(self.vertices), number, operator)
        self.vertices.append(vertex)
        return vertex

    def record(self, op_type: str, outputs: Iterable[Output]) -> list[Vertex]:
        """Append one operator: an output vertex and its edges for each (value, reads)."""
        order = len(self.operators)
        self.operators.append(Operator(op_type, self.place))
        return [self._output(order, number, reads) for number, reads in outputs]

    def _output(self, order: int, number: float, reads: list[Read]) -> Vertex:
        vertex = self._vertex(number, order)
        for slot, scalar, derivative in reads:
            if isinstance(scalar, Vertex):
                scalar.edges.append(Edge(scalar.number, vertex.number, slot, derivative, order))
        return vertex

    def row(self, name: str, index: int) -> list[Vertex]:
        """One row of a matrix parameter: the very vertices, because a lookup is a copy."""
        return [self._parameters[name][index, column] for column in range(self._shapes[name][1])]

    def matrix(self, name: str, rows: range | None = None) -> list[list[Vertex]]:
        """The rows of a matrix parameter, all or a gate's."""
        return [self.row(name, index) for index in (rows or range(self._shapes[name][0]))]

    def vector(self, name: str, rows: range | None = None) -> list[Vertex]:
        """The elements of a vector parameter, all or a gate's."""
        return [self._parameters[name][(index,)] for index in (rows or range(self._shapes[name][0]))]

    # Reading

    def parameter_vertices(self, name: str) -> list[int]:
        """The vertices of a parameter's elements, in row-major order."""
        return [vertex.number for vertex in self._parameters[name].values()]

    @property
    def loss(self) -> float:
        """The scalar that everything leads to."""
        return self.vertices[-1].value

    @property
    def n_vertices(self) -> int:
        """Parameter elements (used or not) and operator outputs; no constants, no copies."""
        return len(self.vertices)

    @property
    def n_edges(self) -> int:
        """Edges, including those with derivative zero."""
        return sum(len(vertex.edges) for vertex in self.vertices)

    @property
    def edges(self) -> list[Edge]:
        """Every edge, by source."""
        return [edge for vertex in self.vertices for edge in vertex.edges]

    def contribution(self, edge: Edge) -> float:
        """The share of the source's gradient that arrives over this edge."""
        return self.vertices[edge.dst].gradient * edge.derivative

    def backward(self) -> None:
        """Chain rule in micrograd's manner, written apart from `contribution` so that conservation can fail."""
        self.vertices[-1].gradient = 1.0
        for vertex in reversed(self.vertices[:-1]):
            vertex.gradient = 0.0
            for edge in vertex.edges:
                vertex.gradient += edge.derivative * self.vertices[edge.dst].gradient

    def gradient(self, name: str) -> Floats:
        """The gradient of a parameter, in its own shape."""
        result = np.zeros(self._shapes[name])
        for index, vertex in self._parameters[name].items():
            result[index] = vertex.gradient
        return result

    def conservation_error(self) -> float:
        """Largest |Σ w - g| over all vertices but the loss, relative to the Σ |w| of the same vertex."""
        return max(map(self._imbalance, self.vertices[:-1]))

    def _imbalance(self, vertex: Vertex) -> float:
        shares = [self.contribution(edge) for edge in vertex.edges]
        gap, scale = abs(math.fsum(shares) - vertex.gradient), math.fsum(map(abs, shares))
        return gap / scale if scale else gap

    def trace(self, name: str, index: tuple[int, ...]) -> Trace:
        """Follow the largest |w| from a parameter element until the loss or a dead vertex."""
        status, hops = self._route(name, index)
        return Trace(
            status,
            [self.contribution(hop) for hop in hops],
            [self.vertices[hop.dst].value for hop in hops],
            [self.operators[hop.operator].type for hop in hops],
            [self.operators[hop.operator].place for hop in hops],
            [hop.dst for hop in hops],
        )

    def margin(self, name: str, index: tuple[int, ...]) -> float:
        """Smallest relative gap between best and runner-up |w| along a trace; infinite where nothing is decided."""
        return min((self._gap(self.vertices[hop.src]) for hop in self._route(name, index)[1]), default=math.inf)

    def all_paths(self, name: str, index: tuple[int, ...]) -> Iterator[ProductPath]:
        """Every path from a parameter element to the loss. Exponential: for tiny graphs only."""
        return self._paths(self._parameters[name][index], (), 1.0)

    def _paths(self, vertex: Vertex, hops: tuple[Edge, ...], product: float) -> Iterator[ProductPath]:
        if vertex is self.vertices[-1]:
            yield ProductPath(hops, product)
        for edge in vertex.edges:
            yield from self._paths(self.vertices[edge.dst], (*hops, edge), product * edge.derivative)

    def _route(self, name: str, index: tuple[int, ...]) -> tuple[Status, list[Edge]]:
        vertex = self._parameters[name][index]
        hops: list[Edge] = []
        if not vertex.edges:
            return "absent", hops
        while vertex is not self.vertices[-1]:
            best = self._best(vertex)
            if best is None:
                return "dead", hops
            hops.append(best)
            vertex = self.vertices[best.dst]
        return "loss", hops

    def _best(self, vertex: Vertex) -> Edge | None:
        """The traced edge; a strictly larger |w| is needed to displace an edge that comes first in the tie order."""
        best, largest = None, 0.0
        for edge in sorted(vertex.edges, key=lambda edge: (edge.operator, edge.slot, edge.dst)):
            size = abs(self.contribution(edge))
            if size > largest:
                best, largest = edge, size
        return best

    def _gap(self, vertex: Vertex) -> float:
        sizes = sorted((abs(self.contribution(edge)) for edge in vertex.edges), reverse=True)
        return (sizes[0] - sizes[1]) / sizes[0] if len(sizes) > 1 else math.inf


# --------------------------------------------------------------------------------------------------------------------
# Primitives


def matmul(graph: ScalarGraph, rows: Matrix, weight: Matrix) -> list[list[Vertex]]:
    """`rows @ weight.T` as one operator: products and their sum together."""
    flat = graph.record("MatMul", (_dot(row, column) for row in rows for column in weight))
    width = len(weight)
    return [flat[start : start + width] for start in range(0, len(flat), width)]


def _dot(row: Row, column: Row) -> Output:
    pairs = list(zip(row, column, strict=True))
    left = [Read(0, a, value(b)) for a, b in pairs]
    right = [Read(1, b, value(a)) for a, b in pairs]
    return math.fsum(value(a) * value(b) for a, b in pairs), left + right


def _binary(graph: ScalarGraph, op_type: str, rule: Callable[[Scalar, Scalar], Output], a: Row, b: Row) -> list[Vertex]:
    return graph.record(op_type, (rule(x, y) for x, y in zip(a, b, strict=True)))


def add(graph: ScalarGraph, a: Row, b: Row) -> list[Vertex]:
    """Elementwise a + b."""
    return _binary(graph, "Add", lambda x, y: (value(x) + value(y), [Read(0, x, 1.0), Read(1, y, 1.0)]), a, b)


def sub(graph: ScalarGraph, a: Row, b: Row) -> list[Vertex]:
    """Elementwise a - b."""
    return _binary(graph, "Sub", lambda x, y: (value(x) - value(y), [Read(0, x, 1.0), Read(1, y, -1.0)]), a, b)


def mul(graph: ScalarGraph, a: Row, b: Row) -> list[Vertex]:
    """Elementwise a * b."""
    return _binary(graph, "Mul", lambda x, y: (value(x) * value(y), [Read(0, x, value(y)), Read(1, y, value(x))]), a, b)


def _unary(graph: ScalarGraph, op_type: str, rule: Callable[[float], tuple[float, float]], a: Row) -> list[Vertex]:
    """`rule` gives an element's value and derivative."""
    results = ((x, rule(value(x))) for x in a)
    return graph.record(op_type, ((number, [Read(0, x, derivative)]) for x, (number, derivative) in results))


def _logistic(x: float) -> tuple[float, float]:
    small = math.exp(-abs(x))  # never overflows
    y = 1.0 / (1.0 + small) if x >= 0 else small / (1.0 + small)
    return y, y * (1.0 - y)


def sigmoid(graph: ScalarGraph, a: Row) -> list[Vertex]:
    """Elementwise logistic function."""
    return _unary(graph, "Sigmoid", _logistic, a)


def tanh(graph: ScalarGraph, a: Row) -> list[Vertex]:
    """Elementwise hyperbolic tangent."""
    return _unary(graph, "Tanh", lambda x: (math.tanh(x), 1.0 - math.tanh(x) ** 2), a)


def exp(graph: ScalarGraph, a: Row) -> list[Vertex]:
    """Elementwise exponential."""
    return _unary(graph, "Exp", lambda x: (math.exp(x), math.exp(x)), a)


def log(graph: ScalarGraph, a: Row) -> list[Vertex]:
    """Elementwise natural logarithm."""
    return _unary(graph, "Log", lambda x: (math.log(x), 1.0 / x), a)


def reduce_sum(graph: ScalarGraph, rows: Matrix) -> list[Vertex]:
    """The sum of each row."""
    return graph.record("ReduceSum", ((math.fsum(map(value, row)), [Read(0, x, 1.0) for x in row]) for row in rows))


def reduce_mean(graph: ScalarGraph, row: Row) -> Vertex:
    """The mean of all elements."""
    share = 1.0 / len(row)
    return graph.record("ReduceMean", [(math.fsum(map(value, row)) * share, [Read(0, x, share) for x in row])])[0]


# --------------------------------------------------------------------------------------------------------------------
# The language model


class _Layer:
    """One recurrent layer's affine maps, by gate."""

    def __init__(self, graph: ScalarGraph, module: str, layer: int, units: int) -> None:
        self.graph, self.module, self.layer, self.units = graph, module, layer, units

    def affine(self, side: Literal["ih", "hh"], gate: int, inputs: Row) -> list[Vertex]:
        """MatMul with a gate's rows of the stacked weight, then Add of its bias."""
        rows = range(gate * self.units, (gate + 1) * self.units)
        weight = self.graph.matrix(f"{self.module}.weight_{side}_l{self.layer}", rows)
        bias = self.graph.vector(f"{self.module}.bias_{side}_l{self.layer}", rows)
        return add(self.graph, matmul(self.graph, [inputs], weight)[0], bias)

    def preactivation(self, gate: int, x: Row, h: Row) -> list[Vertex]:
        """Both affine maps of a gate, added."""
        from_input = self.affine("ih", gate, x)
        return add(self.graph, from_input, self.affine("hh", gate, h))


State = tuple[Row, Row]  # hidden and cell
Step = Callable[[ScalarGraph, _Layer, str, Row, State], State]


def _lstm_step(graph: ScalarGraph, layer: _Layer, place: str, x: Row, state: State) -> State:
    h, c = state
    gates: list[list[Vertex]] = []
    for number, gate in enumerate(("input_gate", "forget_gate", "cell_gate", "output_gate")):
        graph.place = f"{place} {gate}"
        squash = tanh if gate == "cell_gate" else sigmoid
        gates.append(squash(graph, layer.preactivation(number, x, h)))
    i, f, g, o = gates
    graph.place = f"{place} cell"
    kept = mul(graph, f, c)
    c = add(graph, kept, mul(graph, i, g))
    graph.place = f"{place} hidden"
    return mul(graph, o, tanh(graph, c)), c


def _rnn_step(graph: ScalarGraph, layer: _Layer, place: str, x: Row, state: State) -> State:
    graph.place = f"{place} hidden"
    return tanh(graph, layer.preactivation(0, x, state[0])), ()


def _gru_step(graph: ScalarGraph, layer: _Layer, place: str, x: Row, state: State) -> State:
    h, _ = state
    graph.place = f"{place} reset_gate"
    r = sigmoid(graph, layer.preactivation(0, x, h))
    graph.place = f"{place} update_gate"
    z = sigmoid(graph, layer.preactivation(1, x, h))
    graph.place = f"{place} new_gate"
    from_input = layer.affine("ih", 2, x)
    n = tanh(graph, add(graph, from_input, mul(graph, r, layer.affine("hh", 2, h))))
    graph.place = f"{place} hidden"
    replaced = mul(graph, sub(graph, [1.0] * len(z), z), n)
    return add(graph, replaced, mul(graph, z, h)), ()


STEPS: dict[str, Step] = {"lstm": _lstm_step, "rnn": _rnn_step, "gru": _gru_step}


def language_model_graph(
    state: Mapping[str, npt.NDArray[np.floating]],
    kind: str,
    module: str,
    layers: int,
    input_ids: list[int],
    targets: list[int],
) -> ScalarGraph:
    """The graph of a recurrent language model's mean cross entropy on one sentence, gradients included."""
    graph = ScalarGraph(state)
    units = state[f"{module}.weight_hh_l0"].shape[1]
    rows: Matrix = [graph.row("embedding.weight", token) for token in input_ids]
    for number in range(layers):  # layer by layer, as nn.LSTM and ONNX's LSTM do; it matters for exact ties only
        rows = _run_layer(graph, STEPS[kind], _Layer(graph, module, number, units), rows)
    graph.place = "decoder"
    products = matmul(graph, rows, graph.matrix("decoder.weight"))
    _cross_entropy(graph, _add_bias(graph, products, graph.vector("decoder.bias")), targets)
    graph.backward()
    return graph


def _run_layer(graph: ScalarGraph, step: Step, layer: _Layer, rows: Matrix) -> list[Row]:
    zeros = [0.0] * layer.units  # constants: parameters that meet them have an edge with derivative 0
    state: State = (zeros, zeros)
    outputs: list[Row] = []
    for time, x in enumerate(rows):
        state = step(graph, layer, f"layer {layer.layer} step {time}", x, state)
        outputs.append(state[0])
    return outputs


def _add_bias(graph: ScalarGraph, rows: list[list[Vertex]], bias: list[Vertex]) -> list[list[Vertex]]:
    flat = add(graph, [x for row in rows for x in row], bias * len(rows))
    return [flat[start : start + len(bias)] for start in range(0, len(flat), len(bias))]


def _cross_entropy(graph: ScalarGraph, logits: list[list[Vertex]], targets: list[int]) -> Vertex:
    graph.place = "loss"
    width = len(logits[0])
    highest = [max(map(value, row)) for row in logits for _ in row]  # constants, by definition
    shifted = sub(graph, [x for row in logits for x in row], highest)
    exponentials = exp(graph, shifted)
    sums = reduce_sum(graph, [exponentials[start : start + width] for start in range(0, len(shifted), width)])
    chosen = [shifted[time * width + target] for time, target in enumerate(targets)]
    return reduce_mean(graph, sub(graph, log(graph, sums), chosen))


# --------------------------------------------------------------------------------------------------------------------
# Explicit edge lists


def brute_gradients(edges: Sequence[Edge], loss: int) -> dict[int, float]:
    """g of every vertex the edges mention, by the chain rule taken literally."""
    leaving = _leaving(edges, loss)

    @cache
    def gradient(vertex: int) -> float:
        if vertex == loss:
            return 1.0
        return math.fsum(gradient(edge.dst) * edge.derivative for edge in leaving[vertex])

    return {vertex: gradient(vertex) for vertex in sorted(leaving)}


def _leaving(edges: Sequence[Edge], loss: int) -> dict[int, list[Edge]]:
    """The edges that leave each vertex mentioned."""
    leaving: dict[int, list[Edge]] = {loss: []}
    for edge in edges:
        leaving.setdefault(edge.src, []).append(edge)
        leaving.setdefault(edge.dst, [])
    return leaving


def brute_greedy(edges: Sequence[Edge], loss: int) -> dict[int, Route]:
    """The greedy trace of every vertex the edges mention, by the definition taken literally."""
    gradients, leaving = brute_gradients(edges, loss), _leaving(edges, loss)

    def contribution(edge: Edge) -> float:
        return gradients[edge.dst] * edge.derivative

    def rank(edge: Edge) -> tuple[float, int, int, int]:
        return -abs(contribution(edge)), edge.operator, edge.slot, edge.dst

    @cache
    def route(vertex: int) -> Route:
        if vertex == loss:
            return Route("loss", (), ())
        if not leaving[vertex]:
            return Route("absent", (), ())
        best = min(leaving[vertex], key=rank)
        if contribution(best) == 0:
            return Route("dead", (), ())
        rest = route(best.dst)
        return Route(rest.status, (best, *rest.edges), (contribution(best), *rest.contributions))

    return {vertex: route(vertex) for vertex in gradients}


def brute_paths(edges: Sequence[Edge], start: int, loss: int) -> list[ProductPath]:
    """Every path from a vertex to the loss, largest |product| first; equal products in order of their edges."""

    def extend(vertex: int, hops: tuple[Edge, ...], product: float) -> Iterator[ProductPath]:
        if vertex == loss:
            yield ProductPath(hops, product)
        for edge in edges:
            if edge.src == vertex:
                yield from extend(edge.dst, (*hops, edge), product * edge.derivative)

    def rank(path: ProductPath) -> tuple[float, list[tuple[int, int, int]]]:
        return -abs(path.product), [(edge.operator, edge.slot, edge.dst) for edge in path.edges]

    return sorted(extend(start, (), 1.0), key=rank)


@dataclass(frozen=True)
class RandomDag:
    """A small graph: parameters first, then operators of one to three outputs, the loss last."""

    n_parameters: int
    outputs: tuple[int, ...]  # number of outputs of each operator; the last one is the loss
    edges: tuple[Edge, ...]

    @property
    def n_vertices(self) -> int:
        """Parameters and operator outputs."""
        return self.n_parameters + sum(self.outputs)

    @property
    def loss(self) -> int:
        """The last vertex."""
        return self.n_vertices - 1

    def gradient_ties(self) -> bool:
        """Whether some vertex has two edges that share its largest, non-zero |w|."""
        gradients = brute_gradients(self.edges, self.loss)
        sizes = {vertex: sorted(self._sizes(vertex, gradients)) for vertex in gradients}
        return any(a == b > 0 for found in sizes.values() for a, b in pairwise(found[-2:]))

    def _sizes(self, vertex: int, gradients: dict[int, float]) -> list[float]:
        return [abs(gradients[edge.dst] * edge.derivative) for edge in self.edges if edge.src == vertex]


# Powers of two: on graphs this small every sum and product is exact in float64, so ties and cancellations are too.
DERIVATIVES = (1.0, -1.0, 0.0, 2.0, -2.0, 0.5)


@st.composite
def random_dags(draw: st.DrawFn, max_vertices: int = 12) -> RandomDag:
    """Operator-like DAGs with double slots, exact ties, zero derivatives, cancellation, dead and absent vertices."""
    n_parameters = draw(st.integers(1, 3))
    outputs = _fit(draw(st.lists(st.integers(1, 3), max_size=6)), max_vertices - n_parameters - 1)
    edges: list[Edge] = []
    first = n_parameters
    for operator, width in enumerate(outputs):
        for dst in range(first, first + width):
            edges += _incoming(draw, operator, dst, first)
        first += width
    return RandomDag(n_parameters, outputs, tuple(edges))


def _fit(widths: list[int], room: int) -> tuple[int, ...]:
    """The leading operators that leave room for the loss, and the loss."""
    kept = [width for position, width in enumerate(widths) if sum(widths[: position + 1]) <= room]
    return (*kept, 1)


def _incoming(draw: st.DrawFn, operator: int, dst: int, readable: int) -> list[Edge]:
    """Up to three sources through each of two slots; outputs of one operator never read each other."""
    # Recent vertices come first, so that most of a graph is connected to its loss.
    sources = st.lists(st.integers(0, readable - 1).map(lambda back: readable - 1 - back), max_size=3, unique=True)
    reads = [(slot, src) for slot in range(2) for src in draw(sources)] or [(0, readable - 1)]
    return [Edge(src, dst, slot, draw(st.sampled_from(DERIVATIVES)), operator) for slot, src in reads]
