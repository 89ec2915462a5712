"""What a store holds, in a few numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..manifest import MODEL, Manifest
from ..schema import GRAPH_TABLES, SHARD_TABLES

if TYPE_CHECKING:
    from .reader import StoreReader


def _stored_files(manifest: Manifest, table: str) -> tuple[int, int, int]:
    # files, rows, bytes
    if table in GRAPH_TABLES:
        files = [manifest.graph_files[table]] if table in manifest.graph_files else []
    else:
        files = [file for shard in manifest.shards for file in shard.files.get(table, [])]
    return len(files), sum(f.rows for f in files), sum(f.bytes for f in files)


def summarise(store: StoreReader) -> dict[str, Any]:
    """Model, settings, samples, graphs and sizes of a store, by name; sizes in bytes."""
    manifest = store.manifest
    ((recorded, failed, tokens, seconds, edges, *structure),) = store.fetch("from store_summary()")
    graphs, parameters, vertices, error = structure
    info: dict[str, Any] = {
        "path": str(store.path),
        "tool_version": manifest.tool_version,
        "format_version": manifest.format_version,
        "complete": manifest.complete,
        **{f"model_{name}": value for name, value in manifest.model.items()},
        **{name: ", ".join(v) if isinstance(v, list) else v for name, v in manifest.settings.items()},
        **{f"samples_{name}": value for name, value in manifest.samples.items()},
        "samples_recorded": recorded,
        "samples_failed": failed,
        "tokens": tokens,
        "seconds": seconds,
        "shards": len(manifest.shards),
        "graphs": graphs,
        "parameters": parameters,
        "vertices_of_largest_graph": vertices,
        "edges_of_all_samples": edges,
        "conservation_error": error,
        "bytes": sum(file.bytes for file in manifest.all_files()),
        **_revealed(store),
    }
    for table in (*GRAPH_TABLES, *SHARD_TABLES):
        files, rows, size = _stored_files(manifest, table)
        info[f"table {table}"] = f"{rows:,} rows, {size:,} bytes, {files} file{'' if files == 1 else 's'}"
    return info


def _revealed(store: StoreReader) -> dict[str, str]:
    """What the store tells of data and model to whom it is given."""
    ((texts, tokens),) = store.fetch("select count(text), count(nullif(len(tokens), 0)) from samples")
    labels = store.fetch("select distinct label from labels order by label")
    checkpoints = store.fetch("select distinct checkpoint from samples where checkpoint is not null order by 1")
    model, source = store.manifest.model.get("name"), store.manifest.samples.get("source")
    given = [store.manifest.source[name] for name in ("model", "samples") if name in store.manifest.source]
    return {
        "reveals texts": f"those of {texts} samples" if texts else "none",
        "reveals tokens": f"those of {tokens} samples" if tokens else "none",
        "reveals labels": ", ".join(name for (name,) in labels) or "none",
        "reveals checkpoints": ", ".join(name for (name,) in checkpoints) or "none",
        "reveals names": f"model {model}, samples file {source}, modules and parameters",
        "reveals paths": ", ".join(given) or "none",
        "reveals weights": f"all, in {MODEL}" if (store.path / MODEL).exists() else "none",
    }
