"""How many paths lead from one vertex to the loss, and how their products of derivatives are spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..database.names import find_vertex
from ..errors import StoreError

if TYPE_CHECKING:
    from ..database.reader import StoreReader


class PathStatistics(NamedTuple):
    """All paths from one vertex to the loss.

    paths: their number (inf beyond 2^1024; log2_paths is exact); products: the sum of their |products of derivatives|;
    effective_paths: 2^entropy of |product| / products, the number of equal paths that would be spread as much, None
    where all products are 0; largest_positive, largest_negative: the largest product of either sign, None where there
    is none; log2_paths and log2_products are None for the logarithm of 0. The gradient is the sum of the products.
    """

    vertex: int
    vertex_name: str
    gradient: float
    paths: float
    log2_paths: float | None
    products: float
    log2_products: float | None
    effective_paths: float | None
    largest_positive: float | None
    largest_negative: float | None


def _power(log2: float | None) -> float | None:
    with np.errstate(over="ignore"):
        return None if log2 is None else float(np.exp2(log2))


def path_statistics(store: StoreReader, start: str | int, sample: int) -> PathStatistics:
    """The statistics of the paths from `start`, a vertex by name or number, in one sample.

    Raises StoreError for a vertex or sample the store lacks, a store that was dumped without statistics, and a
    parameter that is not stored: it has no edge in this sample, or the gradients of parameters were left out.
    """
    graph = store.graph_of(sample)
    vertex = find_vertex(graph, start) if isinstance(start, str) else int(start)
    if not 0 <= vertex < graph.n_vertices:
        raise StoreError(f"sample {sample} has no vertex {vertex}; its vertices are 0 to {graph.n_vertices - 1}.")
    ((recorded,),) = store.sample_rows(sample, "vertices", "count(log2_paths)")
    if not recorded:
        raise StoreError(f"{store.path} has no statistics of paths. Dump again with --statistics into another folder.")
    columns = "gradient, log2_paths, log2_products, path_entropy, log2_positive, log2_negative"
    rows = store.sample_rows(sample, "vertices", columns, "vertex = ?", [vertex])
    name = graph.vertex_name(vertex)
    if not rows:
        raise StoreError(f"{name} has no edge in sample {sample}, or the store was dumped without parameter vertices.")
    gradient, paths, products, entropy, positive, negative = rows[0]
    largest_negative = _power(negative)
    return PathStatistics(
        vertex=vertex,
        vertex_name=name,
        gradient=gradient,
        paths=_power(paths) or 0.0,
        log2_paths=paths,
        products=_power(products) or 0.0,
        log2_products=products,
        effective_paths=_power(entropy),
        largest_positive=_power(positive),
        largest_negative=None if largest_negative is None else -largest_negative,
    )
