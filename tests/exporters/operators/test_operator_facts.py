"""What the registry says of operators is so, and nothing beside it names sets of them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

from gradtrace.exporters import lowering, operators  # noqa: F401  register them
from gradtrace.exporters.operators.registry import COMPOSITES, PRIMITIVES, WITHOUT_GRADIENT, facts_of

ROOT = Path(__file__).parents[3]
FAR = 1e4
# flat far out, and still not called saturated: steps, poles, what grows on, and what falls off again
FLAT = {"Ceil", "Floor", "Round", "Sign", "Asinh", "Reciprocal"} | {
    f"gradtrace.special_{name}" for name in ("i0e", "i1e")
}

# functions of one number that can be asked for any number
UNARY = sorted(
    name
    for name, primitive in PRIMITIVES.items()
    if primitive.kind == "elementwise" and name not in {"Acos", "Acosh", "Asin", "Atanh", "Log", "Sqrt", "Pow"}
)


def slopes(name: str) -> list[float] | None:
    """The derivatives far out on both sides; None for an operator of several inputs."""
    found = []
    for start in (-FAR, FAR):
        x = torch.tensor([start], dtype=torch.float64, requires_grad=True)
        try:
            bounds = (torch.tensor(-1.0), torch.tensor(1.0)) if name == "Clip" else ()
            y = PRIMITIVES[name].compute(x, *bounds)
        except TypeError:
            return None
        found.append(abs(float(torch.autograd.grad(y, x)[0])) if y.requires_grad else 0.0)
    return found


@pytest.mark.parametrize("name", UNARY)
def test_what_saturates_is_flat_on_both_sides_and_not_everywhere(name: str) -> None:
    found = slopes(name)
    if facts_of(name).saturates:
        assert found is not None
        assert max(found) < 1e-6
        x = torch.tensor([0.1], dtype=torch.float64, requires_grad=True)
        bounds = (torch.tensor(-1.0), torch.tensor(1.0)) if name == "Clip" else ()
        assert float(torch.autograd.grad(PRIMITIVES[name].compute(x, *bounds), x)[0]) > 0.1
    elif found is not None and max(found) < 1e-6:
        assert name in FLAT


@pytest.mark.parametrize("name", [name for name in PRIMITIVES if facts_of(name).gate])
def test_a_gate_lies_between_0_and_1(name: str) -> None:
    y = PRIMITIVES[name].compute(torch.linspace(-FAR, FAR, 1001, dtype=torch.float64))
    assert float(y.min()) == 0.0
    assert float(y.max()) == 1.0
    assert facts_of(name).saturates


def test_the_gates_of_recurrent_layers_are_gates() -> None:
    assert {name for name in PRIMITIVES if facts_of(name).gate} == {"HardSigmoid", "Sigmoid"}


def test_what_passes_precision_and_shape_on_is_a_copy_of_its_first_input() -> None:
    for name, primitive in PRIMITIVES.items():
        if facts_of(name).passes_on in ("precision", "shape", "part", "join", "mask"):
            assert primitive.kind == "copies", name
        if facts_of(name).passes_on == "scale":
            assert primitive.kind == "elementwise", name


def test_an_unknown_operator_has_no_facts() -> None:
    assert facts_of("Nonsense") == facts_of("Exp")
    assert facts_of("Gemm").multiplies
    assert facts_of("MatMul").multiplies


def test_no_other_room_holds_a_set_of_operators() -> None:
    known = {*PRIMITIVES, *WITHOUT_GRADIENT, *COMPOSITES}
    wrong = []
    for path in sorted(ROOT.glob("exporters/**/*.py")):
        if path.relative_to(ROOT).parts[1] in ("operators", "lowering"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Set | ast.Dict):
                items = node.elts if isinstance(node, ast.Set) else [key for key in node.keys if key is not None]
                named = {item.value for item in items if isinstance(item, ast.Constant)} & known
                if len(named) > 1:
                    wrong.append(f"{path}:{node.lineno}: {sorted(named)}")
    assert wrong == []


def test_every_query_asks_the_registry_through_the_store() -> None:
    for path in sorted(ROOT.glob("queries/sql/**/*.sql")):
        text = path.read_text(encoding="utf-8")
        assert not [name for name in PRIMITIVES if f"'{name}'" in text], path


def test_cases_were_found() -> None:
    assert len(UNARY) > 40
