"""The graph store's format: one place that the writer obeys and the reader trusts.

A store is a folder. `manifest.json` names its format, its model and its settings, and lists every finished file.
The tables of `GRAPH_TABLES` are one Parquet file each; those of `SHARD_TABLES` have one part per shard of samples.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

FORMAT = "gradtrace"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"

METHODS = ("greedy",)
DETAILS = ("parameters", "all")
DTYPES = ("float32", "float64")

# Every status a sample can have; only samples with OK have rows in the other tables.
OK = "ok"
NON_FINITE = "non-finite"
INVALID = "invalid"


class StoreError(Exception):
    """A store cannot be read or written as asked. The message says what was got, what was wanted, and what to do."""


def _label(name: str) -> pa.Field:
    """A column of few distinct strings."""
    return pa.field(name, pa.dictionary(pa.int32(), pa.string()))


_FLOAT = pa.float32()  # stands for the store's dtype; see `table_schema`

GRAPH_TABLES: dict[str, pa.Schema] = {
    "graphs": pa.schema(
        [
            pa.field("graph", pa.int32()),
            pa.field("fingerprint", pa.string()),
            pa.field("n_nodes", pa.int32()),
            pa.field("n_tensors", pa.int32()),
            pa.field("n_parameters", pa.int64()),
            pa.field("n_vertices", pa.int64()),
            pa.field("loss_vertex", pa.int64()),
            # largest |sum of contributions - gradient| / sum of |contributions| over the vertices of the first sample
            pa.field("conservation_error", pa.float64()),
        ]
    ),
    "nodes": pa.schema(
        [
            pa.field("graph", pa.int32()),
            pa.field("node", pa.int32()),
            pa.field("op_type", pa.string()),
            pa.field("kind", pa.string()),
            pa.field("name", pa.string()),
            pa.field("module", pa.string()),
            pa.field("role", pa.string()),
            pa.field("component", pa.string()),
            pa.field("layer", pa.int32()),
            pa.field("step", pa.int32()),
            pa.field("order", pa.int32()),
        ]
    ),
    "tensors": pa.schema(
        [
            pa.field("graph", pa.int32()),
            pa.field("tensor", pa.int32()),
            pa.field("name", pa.string()),
            pa.field("kind", pa.string()),
            pa.field("shape", pa.list_(pa.int64())),
            pa.field("axis_names", pa.list_(pa.string())),
            pa.field("node", pa.int32()),
            pa.field("first_vertex", pa.int64()),
            pa.field("size", pa.int64()),
            pa.field("aliases", pa.list_(pa.string())),
        ]
    ),
    "components": pa.schema(
        [
            pa.field("component", pa.string()),
            pa.field("module", pa.string()),
            pa.field("role", pa.string()),
            pa.field("layer", pa.int32()),
        ]
    ),
    "parameter_groups": pa.schema(
        [
            pa.field("parameter_group", pa.string()),
            pa.field("parameter", pa.string()),
            pa.field("slice", pa.string()),
            pa.field("size", pa.int64()),
        ]
    ),
}

SHARD_TABLES: dict[str, pa.Schema] = {
    "samples": pa.schema(
        [
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            pa.field("text", pa.string()),
            pa.field("tokens", pa.list_(pa.string())),
            pa.field("loss", pa.float64()),
            pa.field("n_tokens", pa.int32()),
            pa.field("n_vertices", pa.int64()),
            pa.field("n_edges", pa.int64()),
            pa.field("seconds", pa.float64()),
            pa.field("status", pa.string()),
            pa.field("message", pa.string()),
        ]
    ),
    "vertices": pa.schema(
        [
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            pa.field("vertex", pa.int64()),
            pa.field("tensor", pa.int32()),
            pa.field("value", _FLOAT),
            pa.field("gradient", _FLOAT),
        ]
    ),
    "node_gradients": pa.schema(
        [
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            pa.field("node", pa.int32()),
            pa.field("tensor", pa.int32()),
            pa.field("n", pa.int64()),
            pa.field("value_l1", pa.float64()),
            pa.field("value_l2", pa.float64()),
            pa.field("value_max", pa.float64()),
            pa.field("value_zeros", pa.float64()),
            pa.field("gradient_l1", pa.float64()),
            pa.field("gradient_l2", pa.float64()),
            pa.field("gradient_max", pa.float64()),
            pa.field("gradient_zeros", pa.float64()),
        ]
    ),
    "edges": pa.schema(
        [
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            pa.field("src", pa.int64()),
            pa.field("dst", pa.int64()),
            pa.field("src_tensor", pa.int32()),
            pa.field("dst_tensor", pa.int32()),
            pa.field("slot", pa.int16()),
            pa.field("derivative", _FLOAT),
            pa.field("contribution", _FLOAT),
        ]
    ),
    "best_edges": pa.schema(
        [
            _label("method"),
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            pa.field("src", pa.int64()),
            pa.field("rank", pa.int16()),
            pa.field("dst", pa.int64()),
            pa.field("src_tensor", pa.int32()),
            pa.field("dst_tensor", pa.int32()),
            pa.field("slot", pa.int16()),
            pa.field("derivative", _FLOAT),
            pa.field("contribution", _FLOAT),
            pa.field("score", _FLOAT),
        ]
    ),
    "entries": pa.schema(
        [
            _label("method"),
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            _label("parameter_group"),
            pa.field("vertex", pa.int64()),
            pa.field("paths", pa.float64()),
            pa.field("gradient_l1", pa.float64()),
        ]
    ),
    "path_edges": pa.schema(
        [
            _label("method"),
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            _label("parameter_group"),
            pa.field("node", pa.int32()),
            pa.field("edges", pa.float64()),
            pa.field("weighted_edges", pa.float64()),
        ]
    ),
    "path_counts": pa.schema(
        [
            _label("method"),
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            _label("parameter_group"),
            _label("component"),
            pa.field("paths", pa.float64()),
            pa.field("weighted_paths", pa.float64()),
        ]
    ),
    "path_totals": pa.schema(
        [
            _label("method"),
            pa.field("sample", pa.int64()),
            pa.field("graph", pa.int32()),
            _label("parameter_group"),
            pa.field("parameters", pa.int64()),
            pa.field("traced", pa.int64()),
            pa.field("dead", pa.int64()),
            pa.field("absent", pa.int64()),
            pa.field("traced_gradient_l1", pa.float64()),
        ]
    ),
}

# The columns that identify a row, in the order the rows are sorted by.
GRAIN: dict[str, tuple[str, ...]] = {
    "graphs": ("graph",),
    "nodes": ("graph", "node"),
    "tensors": ("graph", "tensor"),
    "components": ("component",),
    "parameter_groups": ("parameter_group",),
    "samples": ("sample",),
    "vertices": ("sample", "vertex"),
    "node_gradients": ("sample", "tensor"),
    "edges": ("sample", "src", "dst", "slot"),
    "best_edges": ("method", "sample", "src", "rank"),
    "entries": ("method", "sample", "parameter_group", "vertex"),
    "path_edges": ("method", "sample", "parameter_group", "node"),
    "path_counts": ("method", "sample", "parameter_group", "component"),
    "path_totals": ("method", "sample", "parameter_group"),
}


def table_schema(table: str, dtype: str) -> pa.Schema:
    """The schema of `table` in a store whose values and gradients are `dtype` ('float32' or 'float64')."""
    if table in GRAPH_TABLES:
        return GRAPH_TABLES[table]
    schema = SHARD_TABLES[table]
    if dtype == "float64":
        fields = [pa.field(f.name, pa.float64()) if f.type == _FLOAT else f for f in schema]
        return pa.schema(fields)
    return schema


@dataclass
class StoredFile:
    """One finished Parquet file: its path relative to the store, its rows and its size in bytes."""

    path: str
    rows: int
    bytes: int


@dataclass
class Shard:
    """A finished range of samples [first, first + count) and, for each table with rows, its file."""

    shard: int
    first: int
    count: int
    files: dict[str, StoredFile]


@dataclass
class Manifest:
    """What `manifest.json` holds. `model` and `settings` decide whether a dump may continue this store."""

    tool_version: str
    model: dict[str, str]  # name, fingerprint
    samples: dict[str, Any]  # source, fingerprint, count
    settings: dict[str, Any]  # detail, dtype, keep, methods, shard_size, parameter_vertices
    shards: list[Shard] = field(default_factory=list)
    graph_files: dict[str, StoredFile] = field(default_factory=dict)
    complete: bool = False
    format: str = FORMAT
    format_version: int = FORMAT_VERSION

    @property
    def dtype(self) -> str:
        return str(self.settings["dtype"])

    def files(self, table: str) -> list[str]:
        """The finished files of `table`, relative to the store, in the order of their samples."""
        if table in GRAPH_TABLES:
            return [self.graph_files[table].path] if table in self.graph_files else []
        return [shard.files[table].path for shard in self.shards if table in shard.files]

    def all_files(self) -> list[StoredFile]:
        """Every file the manifest lists."""
        return [*self.graph_files.values(), *(f for shard in self.shards for f in shard.files.values())]

    def accepts(self, file: StoredFile, wanted: int, found: int | None) -> bool:
        """Whether a listed file may have `found` bytes or rows where the manifest says `wanted`.

        The tables of GRAPH_TABLES may have grown since: a dump in progress replaces them before the manifest.
        """
        growing = not self.complete and file in self.graph_files.values()
        return found is not None and (found == wanted or (growing and found > wanted))

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def _parse_manifest(raw: Mapping[str, Any]) -> Manifest:
    values = dict(raw)
    values["graph_files"] = {name: StoredFile(**f) for name, f in values["graph_files"].items()}
    values["shards"] = [
        Shard(**{**s, "files": {name: StoredFile(**f) for name, f in s["files"].items()}}) for s in values["shards"]
    ]
    return Manifest(**values)


def read_manifest(store: Path) -> Manifest:
    """Read and check `manifest.json` of the folder `store`.

    Raises StoreError when the folder is no store, when the manifest is damaged, or when its version is another one.
    """
    path = store / MANIFEST
    if not path.is_file():
        what = "has no manifest.json" if store.is_dir() else "does not exist"
        raise StoreError(
            f"{store} is not a graph store: it {what}. Make one with `gradtrace dump MODEL --out {store}`."
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise ValueError("it does not say format = 'gradtrace'")
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}). Dump the store again into another folder.") from error
    version = raw.get("format_version")
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{store} has format version {version}; this gradtrace reads version {FORMAT_VERSION}. "
            f"It was written by gradtrace {raw.get('tool_version', 'unknown')}: read it with that, or dump again."
        )
    try:
        return _parse_manifest(raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is damaged (field {error}). Dump the store again into another folder.") from error


def file_size(path: Path) -> int | None:
    """Bytes of a file, None when there is none."""
    return path.stat().st_size if path.is_file() else None


def check_files(store: Path, manifest: Manifest) -> None:
    """Raise StoreError when a file that the manifest lists is missing, or has another size than the manifest says."""
    for file in manifest.all_files():
        size = file_size(store / file.path)
        if not manifest.accepts(file, file.bytes, size):
            got = "is missing" if size is None else f"has {size} bytes"
            raise StoreError(
                f"{store} is damaged: {file.path} {got}, the manifest says {file.bytes} bytes. "
                "Restore the file, or dump the store again into another folder."
            )


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader, or a crash, sees the old file or the new one and nothing between."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_manifest(store: Path, manifest: Manifest) -> None:
    """Replace `manifest.json` atomically."""
    replace_file(store / MANIFEST, manifest.to_json().encode())
