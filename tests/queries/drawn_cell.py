"""Samples drawn by hand, small enough to check with a pencil.

Two steps of a cell with two gates; the numbers on the edges are the derivatives of sample 0.

    emb[a] 0 --1--> 8 --.25--> 10 --2--> 12 --.5----------> 17 --2--> 18 = loss
             --2--> 9 --.01--> 11 --1--> 12 --1--> 14
    emb[b] 1 --1--> 13 --.25--> 15 --1------------> 17
             --.5-> 14 --.20--> 16 --4------------> 17
    weight 3 --1--> 8, --3--> 13     4 --2--> 8, --1--> 13    (forget gate)
           5 --1--> 9, --2--> 14     6 --0--> 9, --0--> 14    (input gate)
    bias   7 --4--> 18               emb[c] 2 has no edge

Gradients: 17: 2, 16: 8, 15: 2, 14: 1.6, 13: .5, 12: .5 * 2 + 1.6 = 2.6, 11: 2.6, 10: 5.2, 9: .026, 8: 1.3.
"""

from __future__ import annotations

from .drawing import Drawn, DrawnGraph, DrawnSample, Edge, Group, Op

PARAMETERS = [
    Drawn("emb.weight", "parameter", (3, 1)),
    Drawn("lstm.weight", "parameter", (2, 2)),
    Drawn("out.bias", "parameter", (), aliases=("head.bias",)),
]
GROUPS = [
    Group("emb.weight", "emb.weight", None, 0, 3),
    Group("lstm.weight.forget_gate", "lstm.weight", "0:1, :", 3, 2),
    Group("lstm.weight.input_gate", "lstm.weight", "1:2, :", 5, 2),
    Group("out.bias", "out.bias", None, 7, 1),
]


def _cell(step: int) -> list[Op]:
    return [
        Op("MatMul", "contracts", "lstm.gates", "lstm", "gates", 0, step),
        Op("Sigmoid", "elementwise", "lstm.sigmoid", "lstm", "sigmoid", 0, step, saturates=True, gate=True),
        Op("Add", "elementwise", "lstm.cell", "lstm", "cell", 0, step),
    ]


def _cell_tensors(step: int, node: int) -> list[Drawn]:
    return [
        Drawn(f"gates_{step}", "activation", (2,), node, ("unit",)),
        Drawn(f"sigmoid_{step}", "activation", (2,), node + 1, ("unit",)),
        Drawn(f"cell_{step}", "activation", (1,), node + 2, ("step",), first_step=step),
    ]


def two_steps() -> DrawnGraph:
    """The graph of the drawing above: 8 parameters, vertices 8 to 18."""
    copy = Op("Reshape", "copies", "lstm.reshape", "lstm", "reshape", 0, 0)
    loss = Op("Mul", "elementwise", "loss")
    tensors = [
        *PARAMETERS,
        *_cell_tensors(0, 0),
        Drawn("cell_0_reshaped", "copy", (1, 1), 3),
        *_cell_tensors(1, 4),
        Drawn("two", "constant", ()),
        Drawn("loss", "loss", (), 7),
    ]
    return DrawnGraph(0, tensors, [*_cell(0), copy, *_cell(1), loss], GROUPS)


def one_step() -> DrawnGraph:
    """The graph of a sentence of one word: vertices 8 to 13."""
    tensors = [*PARAMETERS, *_cell_tensors(0, 0), Drawn("loss", "loss", (), 3)]
    return DrawnGraph(1, tensors, [*_cell(0), Op("Mul", "elementwise", "loss")], GROUPS)


def two_step_edges(first: int, second: int, carry: float) -> list[Edge]:
    """The edges of the drawing; `first` and `second` are the words' embeddings, `carry` is d(12, 17)."""
    return [
        *(Edge(first, 8, 1), Edge(first, 9, 2), Edge(second, 13, 1), Edge(second, 14, 0.5)),
        *(Edge(3, 8, 1, 1), Edge(3, 13, 3, 1), Edge(4, 8, 2, 1), Edge(4, 13, 1, 1)),
        *(Edge(5, 9, 1, 1), Edge(5, 14, 2, 1), Edge(6, 9, 0, 1), Edge(6, 14, 0, 1)),
        *(Edge(8, 10, 0.25), Edge(9, 11, 0.01), Edge(13, 15, 0.25), Edge(14, 16, 0.2)),
        *(Edge(10, 12, 2), Edge(11, 12, 1, 1), Edge(15, 17, 1), Edge(16, 17, 4, 1)),
        *(Edge(12, 17, carry, 2), Edge(12, 14, 1, 2), Edge(7, 18, 4, 1), Edge(17, 18, 2)),
    ]


ONE_STEP_EDGES = [
    *(Edge(1, 8, 1), Edge(1, 9, 1), Edge(3, 8, 1, 1), Edge(4, 8, 2, 1), Edge(5, 9, 0, 1), Edge(6, 9, 1, 1)),
    *(Edge(8, 10, 0.5), Edge(9, 11, 0.5), Edge(10, 12, 1), Edge(11, 12, 0, 1), Edge(12, 13, 2), Edge(7, 13, 1, 1)),
]


def drawn_samples() -> list[DrawnSample]:
    """Four sentences: the drawing, another one of its graph, one that was not recorded, and one of a single word."""
    graph, short = two_steps(), one_step()
    return [
        DrawnSample(0, graph, "a b", ["a", "b"], two_step_edges(0, 1, 0.5)),
        DrawnSample(1, graph, "c a", ["c", "a"], two_step_edges(2, 0, 3.0)),
        DrawnSample(2, graph, "b b", ["b", "b"], [], status="non-finite"),
        DrawnSample(3, short, "b", ["b"], ONE_STEP_EDGES),
    ]
