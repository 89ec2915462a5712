"""Names of vertices, and one path as a person sees it."""

from __future__ import annotations

import pytest

from gradtrace.queries import Store, StoreError
from gradtrace.queries.database.names import find_vertex


@pytest.mark.parametrize(
    ("text", "vertex"),
    [
        ("emb.weight[0,0]", 0),
        ("lstm.weight[1,0]", 5),
        (" lstm.weight[ 1, 0 ] ", 5),
        ("lstm.weight[-1,-2]", 5),
        ("out.bias", 7),
        ("out.bias[]", 7),
        ("head.bias", 7),
        ("gates_1[1]", 14),
        ("loss", 18),
    ],
)
def test_names_of_vertices(drawn: Store, text: str, vertex: int) -> None:
    assert find_vertex(drawn.graph(0), text) == vertex


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("emb.weigth[0,0]", r"no tensor named 'emb.weigth'.*Did you mean emb.weight"),
        ("weight[0,0]", r"Did you mean .*emb.weight"),
        ("emb.weight", r"0 indices, but emb.weight has shape \[3, 1\].*'emb.weight\[0,0\]'"),
        ("out.bias[0]", r"1 indices, but out.bias has shape \[\].*'out.bias'"),
        ("emb.weight[3,0]", r"shape \[3, 1\], so 3 must lie in \[0, 3\)"),
        ("emb.weight[0,-2]", r"so -2 must lie in \[0, 1\)"),
        ("emb.weight[0 1,0]", "no number"),
        ("cell_0_reshaped[0,0]", "is a copy"),
        ("two", "is a constant"),
        ("", "wanted the name of one element"),
    ],
)
def test_wrong_names_say_what_is_wrong(drawn: Store, text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        drawn.trace(text)


def test_a_path_golden_rows(drawn: Store) -> None:
    path = drawn.trace("emb.weight[0,0]", sample=0)
    assert (path.start, path.end, len(path)) == ("emb.weight[0,0]", "loss", 7)
    assert [hop["vertex"] for hop in path.hops] == [0, 8, 10, 12, 14, 16, 17, 18]
    assert [hop["token"] for hop in path.hops] == [None, "a", "a", "a", "b", "b", "b", None]
    assert [hop["component"] for hop in path.hops[1:4]] == ["lstm.gates", "lstm.sigmoid", "lstm.cell"]
    fourth = path.hops[4]
    assert (fourth["vertex_name"], fourth["contribution"], fourth["gradient"]) == ("gates_1[1]", 1.6, 1.6)
    assert fourth["share"] == pytest.approx(1.6 / 2.6)
    assert fourth["margin"] == pytest.approx(1 - 1 / 1.6)
    assert path.hops[1]["margin"] == pytest.approx(1 - 0.052 / 1.3)
    assert path.hops[2]["margin"] is None


def test_steps_come_from_an_axis_where_the_operator_has_none(drawn: Store) -> None:
    # cell_1 has the axis 'step' of size 1, along which token 1 lies.
    assert drawn.sql("select vertex_step(0, 17), vertex_step(0, 14), vertex_step(0, 18)").fetchall() == [(1, 1, None)]
    assert drawn.trace("lstm.weight[0,1]").hops[-2]["step"] == 1


@pytest.mark.parametrize(("sample", "path"), [(1, [2, 8, 10, 12, 17, 18]), (0, [2])])
def test_paths_differ_between_samples(drawn: Store, sample: int, path: list[int]) -> None:
    assert [hop["vertex"] for hop in drawn.trace("emb.weight[2,0]", sample).hops] == path


@pytest.mark.parametrize(
    ("name", "end"),
    [("out.bias", "loss"), ("lstm.weight[1,1]", "dead"), ("emb.weight[2,0]", "absent"), ("loss", "loss")],
)
def test_why_a_path_ends(drawn: Store, name: str, end: str) -> None:
    path = drawn.trace(name)
    assert path.end == end
    assert {"loss": "reaches the loss", "dead": "dead:", "absent": "absent:"}[end] in str(path)


def test_a_path_may_start_at_an_activation(drawn_parameters: Store) -> None:
    path = drawn_parameters.trace("gates_0[1]")
    assert [hop["vertex"] for hop in path.hops] == [9, 11, 12, 14, 16, 17, 18]


def test_a_store_without_gradients_of_parameters_traces(drawn_parameters: Store) -> None:
    hops = drawn_parameters.trace("emb.weight[0,0]").hops
    assert hops[0]["gradient"] is None
    assert hops[1]["share"] is None
    assert hops[2]["share"] == 1.0


def test_how_a_path_looks(drawn: Store) -> None:
    path = drawn.trace("out.bias")
    assert str(path).splitlines() == [
        "greedy path of out.bias, sample 0: 1 edge, reaches the loss",
        "hop  vertex_name  op_type  component  step  token  value  gradient  contribution  share  margin",
        "  0  out.bias                                        0.5         4",
        "  1  loss         Mul      loss                      0.5         1             4      1",
    ]
    assert "<td>out.bias</td>" in path._repr_html_()
    assert path.to_arrow().num_rows == 2
    assert list(path.to_pandas()["vertex"]) == [7, 18]


@pytest.mark.parametrize(
    ("sample", "method", "message"),
    [
        (2, "greedy", r"sample 2 was not recorded: non-finite \(the loss is nan\)"),
        (9, "greedy", "no sample 9; it holds 4 samples"),
        (0, "product", "no paths of method 'product'.*greedy"),
    ],
)
def test_samples_and_methods_that_are_not_there(drawn: Store, sample: int, method: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        drawn.trace("out.bias", sample, method)
