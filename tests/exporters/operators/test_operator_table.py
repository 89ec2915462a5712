"""docs/operators.md names every operator that can be run, under its kind."""

from pathlib import Path

from gradtrace.exporters.onnx_graph import reader as graph
from gradtrace.exporters.operators.registry import COMPOSITES, PRIMITIVES, WITHOUT_GRADIENT

DOCS = Path(__file__).parents[3] / "docs" / "operators.md"
EDGES = {
    "elementwise": "each input element to the output element it enters",
    "copies": "none: an output element *is* the input element it repeats",
    "reduces": "each input element to the output element it enters",
    "contracts": "each factor to the products' sums it enters",
    "composite": "those of the primitives it is made of",
    "without gradient": "none: integers, booleans and shapes",
}


def operator_table() -> str:
    """The table as it should be in the docs."""
    assert graph  # importing it registers every operator
    kinds: dict[str, list[str]] = {kind: [] for kind in EDGES}
    for primitive in PRIMITIVES.values():
        kinds[primitive.kind].append(primitive.name)
    kinds["composite"] += COMPOSITES
    kinds["without gradient"] += WITHOUT_GRADIENT
    rows = [f"| {kind} | {EDGES[kind]} | {', '.join(sorted(names))} |" for kind, names in kinds.items()]
    return "\n".join(["| kind | edges | operators |", "|---|---|---|", *rows])


def test_the_docs_list_every_operator() -> None:
    assert operator_table() in DOCS.read_text(encoding="utf-8"), f"the table should be\n\n{operator_table()}\n"
