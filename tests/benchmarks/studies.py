"""How long importance, stability and comparisons take over a study of many samples. Run by hand:

    python tests/benchmarks/studies.py [SAMPLES]

The store is made up: an LSTM's shape of 15 parameter groups, 10 components and 600 operators (20 steps), with random
counts in the path tables, which is all that these questions read.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gradtrace.queries import Store, open_store
from gradtrace.queries.manifest import Manifest, Shard, StoredFile, listed_file, write_manifest
from gradtrace.queries.schema import GRAPH_TABLES, SHARD_TABLES, table_schema

GROUPS = [f"group_{i:02d}" for i in range(15)]
COMPONENTS = [f"component_{i}" for i in range(10)]
N_NODES, SHARD = 600, 8


def _graph_tables() -> dict[str, list[dict[str, object]]]:
    graph = {"graph": 0, "fingerprint": "0", "n_nodes": N_NODES, "n_tensors": 0, "n_parameters": 15_000}
    nodes = [
        {
            "graph": 0,
            "node": i,
            "op_type": "Add",
            "kind": "elementwise",
            "component": COMPONENTS[i % 10],
            "step": i // 30,
        }
        for i in range(N_NODES)
    ]
    return {
        "graphs": [{**graph, "n_vertices": 100_000, "loss_vertex": 99_999, "conservation_error": 0.0}],
        "nodes": nodes,
        "tensors": [],
        "components": [{"component": name} for name in COMPONENTS],
        "parameter_groups": [{"parameter_group": name, "parameter": name, "size": 1000} for name in GROUPS],
    }


def _shard_tables(samples: range, draw: np.random.Generator) -> dict[str, pa.Table]:
    def table(name: str, per_sample: int, **columns: object) -> pa.Table:
        n = per_sample * len(samples)
        key = {"method": ["greedy"] * n, "sample": np.repeat(samples, per_sample)}
        values = {k: np.tile(v, len(samples)) if len(v) < n else v for k, v in columns.items()}  # type: ignore[arg-type,call-overload]
        return pa.table({k: pa.array(v) for k, v in (key | values).items()}).cast(table_schema(name, "float32"))

    n_groups, n = len(GROUPS), len(samples)
    return {
        "samples": pa.Table.from_pylist(
            [
                {"sample": s, "graph": 0, "text": f"sentence {s}", "n_tokens": 20, "loss": 1.0, "status": "ok"}
                | {"labels": [("condition", ("singular", "plural")[s % 2])]}
                for s in samples
            ],
            table_schema("samples", "float32"),
        ),
        "path_edges": table(
            "path_edges",
            n_groups * N_NODES,
            parameter_group=np.repeat(GROUPS, N_NODES),
            node=np.tile(np.arange(N_NODES), n_groups),
            edges=draw.integers(1, 1000, n * n_groups * N_NODES).astype(float),
            weighted_edges=draw.random(n * n_groups * N_NODES),
        ),
        "path_counts": table(
            "path_counts",
            n_groups * len(COMPONENTS),
            parameter_group=np.repeat(GROUPS, len(COMPONENTS)),
            component=np.tile(COMPONENTS, n_groups),
            paths=draw.integers(1, 1000, n * n_groups * len(COMPONENTS)).astype(float),
            weighted_paths=draw.random(n * n_groups * len(COMPONENTS)),
        ),
        "path_totals": table(
            "path_totals",
            n_groups,
            parameter_group=np.array(GROUPS),
            parameters=np.full(n_groups, 1000),
            traced=np.full(n_groups, 990),
            dead=np.full(n_groups, 10),
            absent=np.zeros(n_groups),
            traced_gradient_l1=draw.random(n * n_groups),
        ),
    }


def write_study(store: Path, n_samples: int, seed: int = 0) -> Path:
    """Write a made-up store of `n_samples` samples; returns its folder."""

    def write(path: str, rows: pa.Table) -> StoredFile:
        (store / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, store / path, compression="zstd")
        return StoredFile(**asdict(listed_file(store, store / path)), rows=rows.num_rows)

    settings = {"detail": "parameters", "dtype": "float32", "keep": 2, "methods": ["greedy"]}
    manifest = Manifest(
        tool_version="0",
        model={"name": "made up", "fingerprint": "0"},
        samples={"source": "made up", "fingerprint": "0", "count": n_samples},
        settings={**settings, "parameter_vertices": True, "statistics": False},
        complete=True,
    )
    for name, rows in _graph_tables().items():
        manifest.graph_files[name] = write(f"{name}.parquet", pa.Table.from_pylist(rows, GRAPH_TABLES[name]))
    draw = np.random.default_rng(seed)
    for shard, first in enumerate(range(0, n_samples, SHARD)):
        samples = range(first, min(first + SHARD, n_samples))
        tables = _shard_tables(samples, draw)
        assert tables.keys() <= SHARD_TABLES.keys()
        files = {name: [write(f"{name}/shard={shard:05d}/part-0.parquet", rows)] for name, rows in tables.items()}
        manifest.shards.append(Shard(shard, first, len(samples), files))
    write_manifest(store, manifest)
    return store


def _seconds(ask: Callable[[], object]) -> tuple[float, float]:
    # by the clock, and of all threads
    started, busy = time.perf_counter(), time.process_time()
    ask()
    return time.perf_counter() - started, time.process_time() - busy


def questions(store: Store, other: Store) -> dict[str, Callable[[], object]]:
    """What is measured."""
    return {
        "importance by parameter_group, component": lambda: store.importance().fetchall(),
        "importance by condition, parameter_group, component": lambda: store.importance(
            ["condition", "parameter_group", "component"]
        ).fetchall(),
        "stability": lambda: store.stability().fetchall(),
        "compare two stores": lambda: store.compare(other),
        "compare between conditions": lambda: store.compare(between="condition=singular,plural"),
    }


def main() -> None:
    """Write two studies and print the seconds that each question takes."""
    n_samples = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        left, right = (open_store(write_study(Path(folder) / str(seed), n_samples, seed)) for seed in (0, 1))
        sys.stdout.write(f"{n_samples} samples, {len(GROUPS)} parameter groups, {len(COMPONENTS)} components\n")
        for name, ask in questions(left, right).items():
            clock, busy = _seconds(ask)
            sys.stdout.write(f"{name:55} {clock:6.2f} s, {busy:6.2f} s of processors\n")


if __name__ == "__main__":
    main()
