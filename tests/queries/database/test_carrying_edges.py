"""Which edges carry something, found without most gradients, against the view that looks up all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradtrace.queries import open_store
from gradtrace.queries.importance.flows import read_starts, read_walk

from ..drawing import WITH_PRODUCT, write_store
from ..drawn_cell import drawn_samples
from ..verify.test_verify_store import rewrite

Rows = list[dict[str, Any]]


def _scaled(draw: np.random.Generator, column: str, smallest: int) -> Any:
    """Change numbers to ones near what the dtype cannot hold, and some to 0."""

    def change(rows: Rows) -> None:
        for row in rows:
            power = int(draw.integers(smallest, 3)) if draw.random() < 0.7 else 0
            row[column] = 0.0 if draw.random() < 0.2 else float(row[column]) * 2.0**power

    return change


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("dtype", "smallest"), [("float32", -80), ("float64", -540)])
def test_edges_that_round_to_nothing(tmp_path: Path, dtype: str, smallest: int, seed: int) -> None:
    path = write_store(tmp_path / "store", drawn_samples(), dtype=dtype, methods=WITH_PRODUCT)
    draw = np.random.default_rng(seed)
    rewrite(path, "best_edges", _scaled(draw, "derivative", smallest))
    rewrite(path, "vertices", _scaled(draw, "gradient", smallest))
    dead = 0
    with open_store(path) as store:
        for method in WITH_PRODUCT:
            wanted = store.fetch("select src, dst from traced_edges(0, ?) order by src", [method])
            assert store.fetch("from carrying_edges(0, ?) order by src", [method]) == wanted
            graph, walk = store.graph_of(0), read_walk(store, 0, method)
            starts = read_starts(store, 0, method, 0, graph.n_parameters, weighted=False)
            activations = zip(np.arange(walk.next.size) + walk.first, walk.next, strict=True)
            found = [*zip(starts.vertex, starts.next, strict=True), *activations]
            assert [edge for edge in found if edge[1] >= 0] == wanted
            dead += sum(edge[1] < 0 for edge in found)
    assert dead > 0
