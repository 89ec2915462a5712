"""All functions that are tried."""

from __future__ import annotations

from .tables import algebra, elementwise, losses, modules, reductions, shapes
from .trying import Case

TABLES = {
    "Elementwise functions": elementwise.CASES,
    "Reductions, sorting and running sums": reductions.CASES,
    "Shapes, picking and putting": shapes.CASES,
    "Products, windows, matrices": algebra.CASES,
    "Losses": losses.CASES,
    "Modules": modules.CASES,
}

CASES: dict[str, Case] = {name: case for table in TABLES.values() for name, case in table.items()}
