"""A store as plain Parquet: every table with all its columns, edges as rows, for engines that know nothing of views."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from ...queries import Store
from ...queries.database.quoting import identifier
from ...queries.errors import StoreError
from ...queries.schema import GRAPH_TABLES, MADE_OF, ROW_TABLES, view_schema

_ROWS = 1 << 18  # of a row group, which is in memory at a time


def convert_to_parquet(store: Store, out: Path, on_shard: Callable[[int], None] = lambda _: None) -> int:
    """Write the tables of a store to the folder `out` and return the number of files.

    Tables of graphs are `TABLE.parquet`, those of shards `TABLE/shard-00000.parquet` and so on, with the columns of
    their views; tables without rows have no file. The store is only read, and `out` is there as a whole or not at all.

    on_shard: told the number of shards done
    Raises StoreError where `out` is a file or a folder with something in it, or lies in the store.
    """
    _check_free(store, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.{uuid4().hex[:12]}.tmp")
    try:
        unfinished.mkdir()
        n_files = sum(1 for _ in _write_all(store, unfinished, on_shard))
        if out.exists():
            out.rmdir()
        unfinished.rename(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return n_files


def _check_free(store: Store, out: Path) -> None:
    if out.resolve().is_relative_to(store.path.resolve()):
        raise StoreError(f"{out} lies in {store.path}, which is not changed. Choose another folder for --out.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StoreError(f"{out} is not empty, wanted a new or an empty folder. Choose another one for --out.")


def _write_all(store: Store, out: Path, on_shard: Callable[[int], None]) -> Iterator[Path]:
    """Each file when it is written."""
    for table in GRAPH_TABLES:
        yield _write(store, table, "", [], out / f"{table}.parquet")
    for number, shard in enumerate(store.manifest.shards, start=1):
        for table in ROW_TABLES:
            if any(shard.files.get(name) for name in (table, *MADE_OF.get(table, ()))):
                (out / table).mkdir(exist_ok=True)
                behind = shard.first + shard.count
                path = out / table / f"shard-{shard.shard:05d}.parquet"
                yield _write(store, table, " where sample >= ? and sample < ?", [shard.first, behind], path)
        on_shard(number)


def _write(store: Store, table: str, where: str, params: list[int], path: Path) -> Path:
    schema = _plain(view_schema(table, store.manifest.dtype))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in store.batches(f"select * from {identifier(table)}" + where, params, _ROWS):
            writer.write_batch(batch.cast(schema))
    return path


def _plain(schema: pa.Schema) -> pa.Schema:
    """With texts in place of the numbers of texts."""
    texts = [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
    return pa.schema(texts)
