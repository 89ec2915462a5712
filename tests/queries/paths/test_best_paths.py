"""The best paths of the store drawn by hand, as a person asks for them and reads them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gradtrace.queries import Store, StoreError, open_store

from ..drawing import Drawn, DrawnGraph, DrawnSample, Edge, Group, Op, write_store

# The four paths from emb[a] in sample 0: vertices behind the start, and the product, which the drawing shows.
PATHS = [
    ([8, 10, 12, 14, 16, 17, 18], 0.8),
    ([8, 10, 12, 17, 18], 0.5),
    ([9, 11, 12, 14, 16, 17, 18], 0.032),
    ([9, 11, 12, 17, 18], 0.02),
]


def vertices(store: Store, **asked: object) -> list[list[int]]:
    found = store.k_best("emb.weight[0,0]", **asked)  # type: ignore[arg-type]
    return [path.to_arrow()["vertex"].to_pylist()[1:] for path in found]


def test_all_paths_in_order(drawn: Store) -> None:
    found = drawn.k_best("emb.weight[0,0]", k=9)
    assert [(path.to_arrow()["vertex"].to_pylist()[1:]) for path in found] == [path for path, _ in PATHS]
    rows = found.summary.to_pylist()
    assert [row["product"] for row in rows] == pytest.approx([product for _, product in PATHS], rel=1e-12)
    assert [row["log2_product"] for row in rows] == pytest.approx([math.log2(p) for _, p in PATHS])
    assert [row["gradient_share"] for row in rows] == pytest.approx([p / 1.352 for _, p in PATHS])
    assert sum(row["gradient_share"] for row in rows) == pytest.approx(1)
    assert found.gradient == pytest.approx(1.352)
    assert found.certain
    assert found.note == "only 4 paths have a product other than 0"
    assert rows[0]["probability"] is None
    assert rows[0]["path"] == (
        "lstm.gates@0 > lstm.sigmoid@0 > lstm.cell@0 > lstm.gates@1 > lstm.sigmoid@1 > lstm.cell@1 > loss"
    )
    assert vertices(drawn, k=2) == [path for path, _ in PATHS[:2]]
    assert drawn.k_best("emb.weight[0,0]", k=4).note == ""


def test_probabilities_multiply_the_shares_of_contributions(drawn: Store) -> None:
    found = drawn.k_best("emb.weight[0,0]", k=4, by="share")
    at_12 = 1 / 2.6, 1.6 / 2.6  # the rest of the way is given at 12
    through_8, through_9 = 1.3 / 1.352, 0.052 / 1.352
    wanted = [through_8 * at_12[1], through_8 * at_12[0], through_9 * at_12[1], through_9 * at_12[0]]
    rows = found.summary.to_pylist()
    assert [row["probability"] for row in rows] == pytest.approx(wanted)
    assert [row["product"] for row in rows] == pytest.approx([product for _, product in PATHS])
    assert "probability" in str(found)


def test_hops_of_a_path_are_those_of_a_trace(drawn: Store) -> None:
    (best, *_) = drawn.k_best("emb.weight[0,0]", k=1, by="share")
    traced = drawn.trace("emb.weight[0,0]")  # greedy takes the same way here
    assert (
        best.to_arrow().drop_columns(["margin"]).to_pylist() == traced.to_arrow().drop_columns(["margin"]).to_pylist()
    )
    assert str(best).startswith("soft path of emb.weight[0,0], sample 0: 7 edges, reaches the loss\nhop ")


@pytest.mark.parametrize(
    ("through", "wanted"),
    [
        ("lstm.cell", [0, 1, 2, 3]),
        ("sigmoid_0[1]", [2, 3]),
        (("sigmoid_0[1]", "gates_1[1]"), [2]),
        (["gates_1[1]", 9], [2]),
        ("9", [2, 3]),
        ("emb.weight[0,0]", [0, 1, 2, 3]),
        ("loss", [0, 1, 2, 3]),
        ("gates_1[0]", []),
    ],
)
def test_paths_through(drawn: Store, through: str | list[str | int], wanted: list[int]) -> None:
    assert vertices(drawn, k=9, through=through) == [PATHS[i][0] for i in wanted]


def test_components_of_a_file(drawn: Store, tmp_path: Path) -> None:
    file = tmp_path / "components.toml"
    file.write_text("[[component]]\nname = 'second'\nstep = 1\nrole = 'gates'\nslice = '1'\n")
    assert vertices(drawn, k=9, through="second", components=file) == [PATHS[0][0], PATHS[2][0]]
    with pytest.raises(StoreError, match=r"'secund' names no component and no vertex.*second"):
        drawn.k_best("emb.weight[0,0]", through="secund", components=file)
    with pytest.raises(StoreError, match="name one of them"):
        drawn.k_best("emb.weight[0,0]", components=file)


def test_paths_between_two_vertices(drawn: Store) -> None:
    found = drawn.k_best("emb.weight[0,0]", k=5, to="cell_0[0]")
    assert [row["product"] for row in found.summary.to_pylist()] == pytest.approx([0.5, 0.02])
    # 12 has gradient 2.6, and each path brings its part of that
    assert [row["gradient_share"] for row in found.summary.to_pylist()] == pytest.approx([1.3 / 1.352, 0.052 / 1.352])
    assert found[0].to_arrow()["vertex"].to_pylist() == [0, 8, 10, 12]
    assert "reaches the vertex asked for" in str(found[0])
    assert "of emb.weight[0,0] to cell_0[0] by product" in str(found)
    assert len(drawn.k_best("gates_0[0]", to=18, through="gates_1[1]")) == 1
    with pytest.raises(StoreError, match=r"no path leads from cell_0\[0\] to gates_0\[0\]"):
        drawn.k_best("cell_0[0]", to="gates_0[0]")


def test_a_path_is_one_trace_that_passes(drawn: Store) -> None:
    assert drawn.trace("emb.weight[0,0]", through="sigmoid_0[1]").to_arrow()["vertex"].to_pylist()[1:] == PATHS[2][0]
    with pytest.raises(StoreError, match=r"no paths through gates_1\[0\] have a product other than 0"):
        drawn.trace("emb.weight[0,0]", through="gates_1[0]")
    with pytest.raises(StoreError, match="no method 'fast'"):
        drawn.trace("emb.weight[0,0]", method="fast", through="loss")


def test_starts_without_paths(drawn: Store) -> None:
    loss = drawn.k_best("loss")
    assert (len(loss), len(loss[0]), loss.summary["product"].to_pylist()) == (1, 0, [1.0])
    absent = drawn.k_best("emb.weight[2,0]")
    assert (len(absent), absent.note) == (0, "emb.weight[2,0] has no edge in this sample")
    assert drawn.k_best("lstm.weight[1,1]").note == (
        "no paths have a product other than 0; the gradient is 0, so paths have no share of it"
    )
    assert "no paths of lstm.weight[1,1] by product" in str(drawn.k_best(6))


def test_products_that_cancel_out(tmp_path: Path) -> None:
    tensors = [Drawn("p", "parameter", ()), Drawn("a", "activation", (2,), 0), Drawn("loss", "loss", (), 1)]
    nodes = [Op("Mul", "elementwise", "a"), Op("ReduceSum", "reduces", "loss")]
    graph = DrawnGraph(0, tensors, nodes, [Group("p", "p", None, 0, 1)])
    edges = [Edge(0, 2, -3), Edge(0, 1, 3), Edge(1, 3, 1), Edge(2, 3, 1)]
    with open_store(write_store(tmp_path / "store", [DrawnSample(0, graph, "a", ["a"], edges)])) as store:
        found = store.k_best("p", k=2)
        assert found.summary["product"].to_pylist() == [3, -3]  # a tie: the smaller target comes first
        assert found.summary["gradient_share"].to_pylist() == [None, None]
        assert found.note == "the gradient is 0, so paths have no share of it"
        assert found.gradient == 0


def test_how_paths_look(drawn: Store) -> None:
    found = drawn.k_best("out.bias", k=1)
    assert str(found).splitlines() == [
        "best path of out.bias by product, sample 0, gradient 4",
        "rank  product  gradient_share  edges  path",
        "   1        4               1      1  loss",
    ]
    assert "<td>loss</td>" in found._repr_html_()
    assert [path.start for path in found[:1]] == ["out.bias"]
    with pytest.raises(IndexError):
        found[1]
    rows = drawn.k_best("emb.weight[0,0]", k=2).to_arrow()
    assert rows["rank"].to_pylist() == [1] * 7 + [2] * 5
    assert rows["hop"].to_pylist() == [*range(1, 8), *range(1, 6)]
    assert set(rows["product"].to_pylist()) == {0.8, 0.5}
    assert list(drawn.k_best("out.bias", k=1).to_pandas()["vertex_name"]) == ["loss"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"by": "size"}, "'product' or by 'share', got 'size'"),
        ({"k": 0}, "from 1 to 1000, got 0"),
        ({"k": 1001}, "from 1 to 1000, got 1001"),
        ({"sample": 9}, "no sample 9"),
        ({"through": "lstm.cel"}, "Did you mean lstm.cell"),
        ({"through": "emb.weight[1,0]"}, r"no path leads through emb.weight\[1,0\]: a parameter is where paths start"),
        ({"through": list("1234567")}, "6 components and vertices at most, got 7"),
        ({"to": 99}, "99 is no vertex of graph 0"),
        ({"to": "emb.weight[0,0]"}, "no path leads from"),
        ({"to": "emb.weight[1,0]"}, r"no path leads from emb.weight\[0,0\] to emb.weight\[1,0\]"),
    ],
)
def test_wrong_questions(drawn: Store, asked: dict[str, object], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        drawn.k_best("emb.weight[0,0]", **asked)  # type: ignore[arg-type]


def test_a_store_without_the_method_and_without_all_edges(drawn_parameters: Store) -> None:
    with pytest.raises(StoreError, match=r"method 'product'.*greedy only.*--method product or --detail all"):
        drawn_parameters.k_best("emb.weight[0,0]")
    with pytest.raises(StoreError, match="--method soft"):
        drawn_parameters.k_best("emb.weight[0,0]", by="share")
