"""Entries of component files that stand for one entry per index of a named axis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor as Torch
from torch import nn

import gradtrace as gt
from gradtrace.queries import StoreError
from gradtrace.queries.components.components import SelectorUse, check_use, members_by_selectors
from gradtrace.queries.components.parameter_groups import resolve_groups
from gradtrace.queries.components.selectors import Selector, read_selectors
from gradtrace.queries.components.splits import parts
from gradtrace.queries.database.finest_groups import FinestGroup
from gradtrace.queries.database.graph import Graph, Node, Tensor

NODES = ("scores", "weights", "output")


def graph(heads: int, steps: int = 2, number: int = 0) -> Graph:
    """Parameters w (heads * 3 x 4) and b (heads * 3); scores and weights, steps x heads x steps; an output of 3."""
    shapes = [(heads * 3, 4), (heads * 3,), (steps, heads, steps), (steps, heads, steps), (3,)]
    axes = [(None, None), (None,), ("step", "head", "key"), ("step", "head", "key"), (None,)]
    sizes = [int(np.prod(shape)) for shape in shapes]
    firsts = [0, *np.cumsum(sizes).tolist()]
    names = ["w", "b", *NODES]
    kinds = ["parameter", "parameter", *["activation"] * 3]
    tensors = tuple(
        Tensor(
            i, name, kind, shape, axis, None, None if i < 2 else i - 2, first, size, ("tied",) if name == "b" else ()
        )
        for i, (name, kind, shape, axis, first, size) in enumerate(
            zip(names, kinds, shapes, axes, firsts, sizes, strict=False)
        )
    )
    nodes = tuple(Node(i, "Add", "elementwise", name, name, name, name, None, None) for i, name in enumerate(NODES))
    return Graph(number, firsts[2], firsts[5], firsts[5] - 1, nodes, tensors)


def members(path: Path, text: str, *graphs: Graph) -> list[dict[str, list[int]]]:
    """The activation vertices of each component, by graph."""
    path.write_text(text, encoding="utf-8")
    selectors = read_selectors(path, "component")
    use = SelectorUse([0] * len(selectors), [0] * len(selectors))
    found = [members_by_selectors(g, selectors, use) for g in graphs]
    check_use(selectors, use, list(graphs))
    return [
        {
            str(label[0]): np.flatnonzero(m.bits[:, i // 64] >> np.uint64(i % 64) & np.uint64(1)).tolist()
            for i, label in enumerate(m.labels)
            if m.present[i]
        }
        for m in found
    ]


SPLIT = "[[component]]\nname = 'attention'\nmodule = ['scores', 'weights']\nsplit = 'head'\n"


def test_one_component_per_index(tmp_path: Path) -> None:
    (found,) = members(tmp_path / "c.toml", SPLIT, graph(3))
    assert list(found) == ["attention.head0", "attention.head1", "attention.head2"]
    elements = np.arange(24).reshape(2, 2, 3, 2)  # tensor x step x head x key
    for head in range(3):
        assert found[f"attention.head{head}"] == elements[:, :, head].reshape(-1).tolist()


@pytest.mark.parametrize("heads", [1, 2, 5, 70])
def test_a_split_is_its_slices(tmp_path: Path, heads: int) -> None:
    by_hand = "".join(
        f"[[component]]\nname = 'head {i}'\nmodule = ['scores', 'weights']\nslice = ':, {i}'\n" for i in range(heads)
    )
    at_once = SPLIT.replace("'attention'", "'head {index}'")
    path = tmp_path / "c.toml"
    assert members(path, at_once, graph(heads)) == members(path, by_hand, graph(heads))


def test_graphs_of_different_sizes(tmp_path: Path) -> None:
    """Every graph has the components of its own size, and a component of both is one."""
    small, large = members(tmp_path / "c.toml", SPLIT.replace("head", "key"), graph(2, 2, 0), graph(2, 3, 1))
    assert list(small) == ["attention.key0", "attention.key1"]
    assert list(large) == ["attention.key0", "attention.key1", "attention.key2"]


def test_tensors_without_the_axis_are_in_no_part(tmp_path: Path) -> None:
    all_operators = SPLIT.replace("['scores', 'weights']", "'*'")
    path = tmp_path / "c.toml"
    assert members(path, all_operators, graph(2)) == members(path, SPLIT, graph(2))


def test_a_split_and_a_slice(tmp_path: Path) -> None:
    (found,) = members(tmp_path / "c.toml", SPLIT + "slice = '1'\n", graph(2))
    elements = np.arange(16).reshape(2, 2, 2, 2)
    assert found["attention.head1"] == elements[:, 1, 1].reshape(-1).tolist()


def test_parts_cover_a_tensor_once() -> None:
    selector = Selector("part {index} of it", (("module", ("scores",)),), None, "step")
    found = dict(parts(selector, graph(3).tensors[2]))
    assert list(found) == ["part 0 of it", "part 1 of it"]
    assert (np.sum([mask for mask in found.values() if mask is not None], axis=0) == 1).all()


# Parameter groups

W, B = (FinestGroup(name, name, None, size) for name, size in (("w", 24), ("b", 6)))
CUT = "[[parameter_group]]\nname = 'head {index}'\nparameter = ['w', 'tied']\nsplit = 'head'\n"


def groups(path: Path, text: str, of: Graph) -> dict[str, dict[str, list[int]]]:
    """The elements of each parameter in each group."""
    path.write_text(text, encoding="utf-8")
    made = resolve_groups(read_selectors(path, "parameter_group"), [W, B], of)
    found: dict[str, dict[str, list[int]]] = {name: {} for name in made.names}
    for part in made.parts:
        found[made.names[part.group]][part.tensor.name] = np.flatnonzero(part.mask).tolist()
    for group, finest in made.whole:
        found[made.names[group]]["wb"[finest]] = list(range((W, B)[finest].size))
    assert not made.overlap
    return found


def test_parameters_are_cut_into_equal_parts(tmp_path: Path) -> None:
    found = groups(tmp_path / "g.toml", CUT, graph(2))
    assert found == {
        "head 0": {"w": list(range(12)), "b": [0, 1, 2]},
        "head 1": {"w": list(range(12, 24)), "b": [3, 4, 5]},
    }
    columns = "[[parameter_group]]\nname = 'w'\nparameter = 'w'\nsplit = 'head'\naxis = 1\n"
    rows = np.arange(24).reshape(6, 4)
    assert groups(tmp_path / "g.toml", columns, graph(2)) == {
        "w.head0": {"w": rows[:, :2].reshape(-1).tolist()},
        "w.head1": {"w": rows[:, 2:].reshape(-1).tolist()},
    }
    assert groups(tmp_path / "g.toml", CUT, graph(1))["head 0"].keys() == {"w", "b"}


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SPLIT.replace("head", "heads"), r"split by 'heads'.* has no axis named 'heads'\. Did you mean head\?"),
        (SPLIT.replace("head", "unit"), r"no axis named 'unit'\. Axes have the names head, key, step\."),
        (SPLIT.replace("['scores', 'weights']", "'output'"), "no axis named 'head', though other operators have one"),
        (SPLIT.replace("['scores', 'weights']", "'scoring'"), "matches no operator"),
        (SPLIT + "slice = '9'", "the slice '9' of component .* selects nothing"),
        (SPLIT.replace("'head'", "3"), "split must be the name of an axis, such as 'head', got 3"),
        (SPLIT.replace("'head'", "''"), "split must be the name of an axis"),
        (SPLIT + "axis = 0", "no key 'axis'"),
        ("[[component]]\nname = 'a {index}'\nmodule = '*'\n", "{index} goes with split"),
    ],
)
def test_wrong_components(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        members(tmp_path / "c.toml", text, graph(2), graph(2, 3, 1))


def test_a_store_without_names_of_axes(tmp_path: Path) -> None:
    unnamed = replace(graph(2), tensors=tuple(t._replace(axis_names=(None,) * len(t.shape)) for t in graph(2).tensors))
    with pytest.raises(StoreError, match="No axis of this store has a name"):
        members(tmp_path / "c.toml", SPLIT, unnamed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CUT.replace("split = 'head'", "split = 'haed'"), r"no axis named 'haed'\. Did you mean head"),
        (CUT + "axis = 1", r"cuts axis 1 into 2 parts.*but b has shape \[6\]"),
        (CUT.replace("'tied'", "'x'") + "axis = 2", r"cuts axis 2.*but w has shape \[6, 4\]"),
        (CUT + "slice = '0:2'", "a slice and a split"),
        (CUT + "axis = -1", "axis must be a whole number from 0 on, got -1"),
        (CUT.replace("split = 'head'", "axis = 0"), "axis goes with split"),
        (CUT.replace("['w', 'tied']", "'v'"), "matches no parameter"),
    ],
)
def test_wrong_groups(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        groups(tmp_path / "g.toml", text, graph(2))


def test_parameters_that_cannot_be_cut(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"into 5 parts, the length of axis 'step', but w has shape \[6, 4\]"):
        groups(tmp_path / "g.toml", CUT.replace("'head'", "'step'"), graph(2, 5))
    uneven = graph(2)
    tensors = (*uneven.tensors[:3], uneven.tensors[3]._replace(axis_names=(None, None, "head"), shape=(2, 2, 2)))
    longer = replace(uneven, tensors=(*tensors[:2], tensors[2]._replace(shape=(1, 4, 2)), *tensors[3:]))
    with pytest.raises(StoreError, match="axes of that name differ in length: 2, 4"):
        groups(tmp_path / "g.toml", CUT, longer)


# Projections that are packed, or have fewer heads


def _attention(length: int, axis: int) -> Graph:
    """Two heads of 3 units; w is `length` along `axis`."""
    plain = graph(2)
    shape = (length, 4) if axis == 0 else (4, length)
    context = plain.tensors[4]._replace(shape=(2, 2, 3), axis_names=("head", "query", None), size=12)
    tensors = (plain.tensors[0]._replace(shape=shape, size=4 * length), *plain.tensors[1:4], context)
    nodes = (*plain.nodes[:2], plain.nodes[2]._replace(role="context"))
    return replace(plain, nodes=nodes, tensors=tensors)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("length", "message"),
    [
        (18, r"of w into 2 heads, but it is 18 long and 2 heads of 3 units are 6: it packs several .* slice = '{}0:6'"),
        (24, "it is 24 long .* packs several projections"),
        (12, "it is 12 long .* packs several projections"),
        (4, r"it is 4 long and .* are 6: it has fewer heads, which several queries share.*slice = '{}0:3'"),
    ],
)
def test_packed_projections_are_no_heads(tmp_path: Path, length: int, axis: int, message: str) -> None:
    text = CUT.replace("['w', 'tied']", "'w'") + f"axis = {axis}\n"
    with pytest.raises(StoreError, match=message.format(":, " * axis)):
        groups(tmp_path / "g.toml", text, _attention(length, axis))


def test_projections_of_heads_are_cut(tmp_path: Path) -> None:
    text = CUT.replace("['w', 'tied']", "'w'")
    assert list(groups(tmp_path / "g.toml", text, _attention(6, 0))) == ["head 0", "head 1"]


class Attending(nn.Module):
    """nn.MultiheadAttention, whose queries, keys and values are stacked in one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Torch) -> Torch:
        return self.attention(x, x, x, need_weights=False)[0].square().sum()


def test_stacked_parameters_of_torch(tmp_path: Path) -> None:
    store = gt.dump(Attending(), [{"x": torch.randn(1, 3, 8)}], tmp_path / "s").open()

    def rows(parameter: str, more: str) -> list[str]:
        (tmp_path / "g.toml").write_text(f"[[parameter_group]]\nname = 'part'\nparameter = '{parameter}'\n{more}")
        found = store.importance(by=["parameter_group"], groups=tmp_path / "g.toml")
        return sorted(found.to_arrow_table()["parameter_group"].to_pylist())

    for parameter in ("attention.in_proj_weight", "attention.in_proj_bias"):
        with pytest.raises(StoreError, match=rf"axis 0 of {parameter} into 2 heads, but it is 24 long .* are 8"):
            rows(parameter, "split = 'head'")
    assert rows("attention.out_proj.weight", "split = 'head'\naxis = 1") == ["part.head0", "part.head1"]
    assert rows("attention.in_proj_weight", "slice = '0:8'") == ["part"]
    store.close()
