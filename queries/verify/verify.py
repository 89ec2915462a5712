"""Check what a store says of itself. A failure is a row of the answer, never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.parquet as pq

from ..manifest import StoredFile, StoredFiles
from ..methods import find_method
from ..schema import OK, table_schema
from .checks import RowCheck, row_checks

if TYPE_CHECKING:
    from ..database.reader import StoreReader

_MOST_NAMED = 20  # damaged files that are named


class Check(NamedTuple):
    """One thing that was checked, whether it holds, and what was found."""

    name: str
    ok: bool
    detail: str


def _guarded(name: str, check: Callable[[], str]) -> Check:
    # `check` returns what is wrong, '' for nothing. A damaged file can fail in any way a reader can fail.
    try:
        wrong = check()
    except Exception as error:
        return Check(name, False, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Check(name, not wrong, wrong)


def _files(store: StoreReader) -> list[tuple[str, StoredFile]]:
    manifest = store.manifest
    shards = [(table, file) for shard in manifest.shards for table, parts in shard.files.items() for file in parts]
    return [*manifest.graph_files.items(), *shards]


def _damaged(store: StoreReader) -> str:
    wrong = list(filter(None, StoredFiles(store.path).wrong_sums(store.manifest.all_files())))
    return "; ".join(wrong[:_MOST_NAMED]) + (
        f"; and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    )


def _wrong_contents(store: StoreReader) -> str:
    # What was written on purpose need not be a table of this format.
    for table, file in _files(store):
        try:
            with pq.ParquetFile(store.path / file.path, page_checksum_verification=True) as parquet:
                schema, rows = parquet.schema_arrow, sum(batch.num_rows for batch in parquet.iter_batches())
        except Exception as error:
            return f"{file.path} cannot be read: {' '.join(str(error).split())}"
        wanted = table_schema(table, store.manifest.dtype, schema.names)
        if schema.remove_metadata() != wanted:
            return f"{file.path} has the columns {schema.names}, wanted {wanted.names} with the types of this format"
        if rows != file.rows:
            return f"{file.path} has {rows} rows, the manifest says {file.rows}"
    return ""


def _wrong_samples(store: StoreReader) -> str:
    behind = store.manifest.n_samples
    found = [number for (number,) in store.fetch("select sample from samples order by sample")]
    if found != list(range(behind)):
        return f"samples has {len(found)} rows, the shards hold samples 0 to {behind - 1}"
    return ""


def _broken(store: StoreReader, check: RowCheck) -> str:
    ((rows,),) = store.fetch(check.sql, check.values)
    return f"{rows} rows break it" if rows else ""


def _recounts(store: StoreReader) -> Iterator[Check]:
    from .recount import recount

    samples = store.fetch(f"select sample from samples where status = '{OK}' order by sample")
    tables: tuple[str, ...] = ("entries", "path_totals", "path_edges", "path_links", "path_spans", "path_counts")
    if store.manifest.settings["detail"] == "study":
        tables = tables[2:]  # entries are all that it holds of parameters
    for method in store.manifest.settings["methods"]:
        all_paths = find_method(method).all_paths
        if all_paths and store.manifest.settings["detail"] != "all":
            continue  # expectations can be counted again along every edge only
        wrong: dict[str, str] = {}
        for (sample,) in samples:
            for difference in recount(store, sample, method):
                wrong.setdefault(difference.table, f"sample {sample}, {difference.detail}")
        for table in tables if all_paths else (*tables, "the trace in SQL"):
            name = f"{table}: equal what the walker counts from the edges, {method}"
            yield Check(name, table not in wrong, wrong.get(table, ""))


def _recount_checks(store: StoreReader) -> list[Check]:
    try:
        return list(_recounts(store))
    except Exception as error:
        detail = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return [Check("path tables: equal what the walker counts from the edges", False, detail)]


def verify(store: StoreReader) -> list[Check]:
    """Check files, columns, keys, vertices, ranks, counts and conservation; one `Check` each, failures included.

    Where files are not those that were written, or cannot be read, their rows are not checked.
    """
    checks = [
        _guarded("manifest: no shard and no table is lost", store.manifest.lost),
        _guarded("files: every byte is the one that was written", lambda: _damaged(store)),
    ]
    if all(found.ok for found in checks):
        name = "files: readable, with the columns and rows of this format"
        checks.append(_guarded(name, lambda: _wrong_contents(store)))
    if not all(found.ok for found in checks):
        return checks
    checks.append(_guarded("samples: those of the manifest", lambda: _wrong_samples(store)))
    for check in row_checks(str(store.manifest.settings["detail"]), store.manifest.dtype):
        checks.append(_guarded(check.name, partial(_broken, store, check)))
    return [*checks, *_recount_checks(store)]
