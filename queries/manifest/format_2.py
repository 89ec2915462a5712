"""The manifest of a store of format 2, which gradtrace 0.1.0 wrote: read to upgrade the store, and for nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..schema import GRAPH_TABLES, SHARD_TABLES
from .fields import SETTINGS, boolean, fields, list_of, map_of, one_of, path_inside, text, whole
from .files import StoredFiles
from .manifest import FORMAT, FORMAT_VERSION, MANIFEST, Manifest, Shard, StoredFile, check_name

FORMAT_2 = 2
_STORED = fields({"path": path_inside, "rows": whole(0), "bytes": whole(0)})
_SHARD = {
    "shard": whole(0),
    "first": whole(0),
    "count": whole(1),
    "files": map_of(one_of(SHARD_TABLES), list_of(_STORED, least=1)),
}
_FIELDS = fields(
    {
        "format": text,
        "format_version": whole(FORMAT_2, FORMAT_2),
        "tool_version": text,
        "model": fields({"name": text, "fingerprint": text}, {"checkpoints": text}),
        "samples": fields({"source": text, "fingerprint": text, "count": whole(0)}),
        "settings": fields(SETTINGS, {"statistics": boolean, "shard_size": whole(1)}),
        "graph_files": map_of(one_of(GRAPH_TABLES), _STORED),
        "shards": list_of(fields(_SHARD)),
        "complete": boolean,
    }
)


def read_format_2(store: Path) -> Manifest | None:
    """The manifest of a finished store of format 2, whose files are there with their sizes; it has no sums.

    None for a store of this format. Raises StoreError for any other folder, with what to do.
    """
    check_name(store)
    path = store / MANIFEST
    if not path.is_file():
        raise StoreError(f"{store} is not a graph store: it has no {MANIFEST}. Name the folder of a store of format 2.")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise ValueError("it does not say format = 'gradtrace'")
        version = raw.get("format_version")
        if version == FORMAT_2:
            return _checked(store, _manifest(raw))
    except (ValueError, OSError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}). Dump the store again into another folder.") from error
    if version == FORMAT_VERSION:
        return None
    raise StoreError(
        f"{store} has format version {version!r:.20}; stores of version {FORMAT_2} can be upgraded. Dump it again."
    )


def _manifest(raw: Mapping[str, Any]) -> Manifest:
    _FIELDS(raw, "the manifest")

    def stored(file: Mapping[str, Any]) -> StoredFile:
        return StoredFile(**file, sha256="")

    return Manifest(
        tool_version=raw["tool_version"],
        model=raw["model"],
        samples=raw["samples"],
        settings={name: value for name, value in raw["settings"].items() if name != "shard_size"},
        shards=[
            Shard(**{**s, "files": {name: [stored(f) for f in parts] for name, parts in s["files"].items()}})
            for s in raw["shards"]
        ],
        graph_files={name: stored(file) for name, file in raw["graph_files"].items()},
        complete=raw["complete"],
        format_version=FORMAT_2,
    )


def _checked(store: Path, manifest: Manifest) -> Manifest:
    if not manifest.complete:
        raise StoreError(
            f"{store} is unfinished: {manifest.n_samples} of {manifest.samples['count']} samples are in. Finish its "
            f"dump with gradtrace {manifest.tool_version}, or dump it again with this one."
        )
    wrong = manifest.lost() or next(filter(None, map(StoredFiles(store).wrong_size, manifest.all_files())), "")
    if wrong:
        raise StoreError(f"{store} is damaged: {wrong}. Restore the file, or dump the store again.")
    return manifest
