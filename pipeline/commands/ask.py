"""Commands that ask a graph store: trace, importance, sql, query, queries, info, verify. None of them imports torch,
but for `trace --model`, which records a sample again.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import add

if TYPE_CHECKING:
    import pyarrow as pa

    from ...queries import Store
    from ...queries.paths.path_list import Paths
    from ...queries.paths.stored_edges import MoreEdges
    from ...queries.paths.trace import Path as TracedPath


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


StorePath = Annotated[Path, typer.Argument(metavar="STORE", help="A graph store: the folder that `dump` wrote.")]
Formatted = Annotated[Format, typer.Option("--format", help="Format of the rows.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write the rows to this file instead of stdout.")]
Sample = Annotated[int, typer.Option("--sample", help="Number of the sample, from 0 on.")]
Timeout = Annotated[
    float, typer.Option(metavar="SECONDS", help="Stop the statement after this time; 0: let it take all it needs.")
]
Method = Annotated[str, typer.Option("--method", help="Which paths: a method the store was dumped with.")]
Components = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|NAME", help="TOML file that names components, or the name of one that comes along: lstm_gates."
    ),
]
Groups = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|NAME",
        help="TOML file that names parameter groups, or the name of one that comes along: lstm_gates.",
    ),
]

# What a table on a terminal has room for; csv, json and parquet carry every column.
_NARROW = ("samples", "traced", "edge_share", "edge_share_low", "edge_share_high", "mean_edges", "path_rate")
_NARROW_SAMPLE = ("edges", "paths", "traced", "dead", "absent", "edge_share", "mean_edges", "path_rate")


def _print(rows: pa.Table, form: Format, out: Path | None) -> None:
    from ..output import print_rows

    print_rows(rows, form.value, out)


def trace(
    store: StorePath,
    parameter: Annotated[
        str, typer.Argument(metavar="PARAMETER", help="One element, as in 'lstm.weight_hh_l0[3,17]'; quote it.")
    ],
    sample: Sample = 0,
    method: Method = "greedy",
    k: Annotated[int | None, typer.Option("-k", help="The k best paths, in place of the one of --method.")] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="product|share",
            help="What is best: the product of derivatives (default with -k), or of shares of the gradient.",
        ),
    ] = None,
    through: Annotated[
        list[str] | None,
        typer.Option(help="A component or a vertex that the path must pass. Give it again: all of them."),
    ] = None,
    to: Annotated[str | None, typer.Option(help="A vertex that the path ends in; without it the loss.")] = None,
    components: Components = None,
    model: Annotated[
        str | None, typer.Option(help="MODEL of the dump, with --samples: finds edges again that are not stored.")
    ] = None,
    samples: Annotated[Path | None, typer.Option(help="The samples file of the dump.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="The checkpoint of the dump, where it named one.")] = None,
    objective: Annotated[str, typer.Option(help="The objective of the dump.")] = "loss",
    form: Formatted = Format.TABLE,
    out: Out = None,
) -> None:
    """Follow the path of one parameter from where it enters the graph to the loss, or find its k best paths.

    Reads STORE; prints one row per vertex on the path. With -k a table has one row per path, and the other formats one
    row per edge of each path. --by, --through and --to without -k find the one best path.

    Example: gradtrace trace runs/demo/store 'lstm.weight_hh_l0[3,17]' --sample 2

    Example: gradtrace trace runs/demo/store 'lstm.weight_hh_l0[3,17]' -k 5 --model runs/demo/model --samples
    runs/demo/model/held_out.txt
    """
    from ...queries import StoreError, open_store
    from ...queries.methods import BY_PRODUCT, BY_SHARE, find_method
    from ..output import print_shown

    opened = open_store(store)
    shown: TracedPath | Paths
    if (k, by, through or None, to, components, model, samples) == (None,) * 7:
        shown = opened.trace(parameter, sample, method)
    else:
        more = _more(opened, sample, model, samples, checkpoint, objective)
        ranked_by = by or (find_method(method).k_best if k is None else None) or (BY_PRODUCT if k else BY_SHARE)
        wanted: dict[str, Any] = {"through": through or (), "to": to, "components": components, "more": more}
        shown = paths = opened.k_best(parameter, sample, 1 if k is None else k, ranked_by, **wanted)
        if k is None:
            if not paths:
                raise StoreError(f"{paths.note}.")
            shown = paths[0]
        elif paths.note and (out is not None or form is not Format.TABLE):
            typer.echo(paths.note, err=True)
    if form is Format.TABLE and out is None:
        print_shown(shown)
    else:
        _print(shown.to_arrow(), form, out)


def _more(
    store: Store, sample: int, model: str | None, samples: Path | None, checkpoint: str | None, objective: str
) -> MoreEdges | None:
    """Where edges that are not stored come from."""
    if model is None and samples is None:
        return None
    if model is None or samples is None:
        from ...queries import StoreError

        raise StoreError("--model and --samples go together: the model and the file that the store was dumped from.")
    from ..dump.recompute import recorded_edges

    return recorded_edges(store, sample, model, samples, checkpoint, objective)


def importance(
    store: StorePath,
    by: Annotated[
        str,
        typer.Option(
            help="Columns of a row, with commas: sample, parameter_group, component; in place of component any of "
            "module, role, layer, step, op_type; and labels of samples or their columns, such as n_tokens."
        ),
    ] = "parameter_group,component",
    components: Components = None,
    groups: Groups = None,
    sample: Annotated[int | None, typer.Option("--sample", help="One sample only.")] = None,
    method: Method = "greedy",
    form: Formatted = Format.TABLE,
    out: Out = None,
) -> None:
    """Rank components by the share of the paths they carry, for each parameter group.

    Reads STORE, and the TOML files; prints one row per combination of --by. Without 'sample' in --by a number is the
    mean over samples, of each group of samples if --by names a label or column of theirs, with its standard deviation
    and bootstrap interval. A table shows the main columns, the other formats all.

    Example: gradtrace importance runs/demo/store --by parameter_group,role --format csv

    Example: gradtrace importance runs/demo/store --components lstm_gates --groups lstm_gates
    """
    from ...queries import open_store
    from ...queries.database.connection import read_relation

    columns = [column.strip() for column in by.split(",") if column.strip()]
    relation = open_store(store).importance(columns, components=components, groups=groups, sample=sample, method=method)
    rows = read_relation(relation)
    if form is Format.TABLE:
        rows = rows.select([*columns, *(_NARROW_SAMPLE if "sample" in columns else _NARROW)])
    _print(rows, form, out)


_HEADROOM = 1.5  # bytes that the process may hold, for each that DuckDB counts


def _limited(store: Store, timeout: float) -> AbstractContextManager[None]:
    """No statement takes longer, or more memory, than it may, whatever it is made of."""
    from ...queries.database.connection import TIMED_OUT, check_timeout, memory_limit
    from ..limits import limited

    check_timeout(timeout)
    memory = int(_HEADROOM * memory_limit(store.connection))
    return limited(timeout, memory, TIMED_OUT, store.remove_spilled)


def sql(
    store: StorePath,
    text: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT; - reads it from stdin.")],
    timeout: Timeout = 300.0,
    form: Formatted = Format.TABLE,
    out: Out = None,
) -> None:
    """Answer one SELECT over the tables of a store. It can read the store's files and nothing else.

    Reads STORE; prints the rows. `gradtrace sql STORE "show tables"` lists the tables, `describe TABLE` their columns;
    the last example says what the columns mean, and docs/store.md has all of them.

    Example: gradtrace sql runs/demo/store "select op_type, count(*) from nodes group by all"

    Example: gradtrace sql runs/demo/store "select column_name, comment from duckdb_columns() where table_name='nodes'"
    """
    from ...queries import open_store

    opened, asked = open_store(store), sys.stdin.read() if text == "-" else text
    with _limited(opened, timeout):
        rows = opened.rows(asked, timeout=timeout)
    _print(rows, form, out)


def query(
    store: StorePath,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A question that `gradtrace queries` lists.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A parameter of the query.")
    ] = None,
    timeout: Timeout = 300.0,
    form: Formatted = Format.TABLE,
    out: Out = None,
) -> None:
    """Answer a question of the query library.

    Reads STORE; prints the rows. `gradtrace queries` lists the questions with their parameters.

    Example: gradtrace query runs/demo/store token_importance -p sample=3
    """
    from ...queries import StoreError, open_store
    from ...queries.database.connection import read_relation

    values: dict[str, Any] = {}
    for given in parameter or []:
        key, equals, value = given.partition("=")
        if not equals:
            raise StoreError(f"got -p {given!r}, wanted NAME=VALUE, as in -p sample=0.")
        values[key.strip()] = value
    opened = open_store(store)
    with _limited(opened, timeout):
        rows = read_relation(opened.query(name, timeout, **values))
    _print(rows, form, out)


def _signature(query: Any) -> str:
    return ", ".join(p.name if p.default is None else f"{p.name} = {p.default}" for p in query.parameters)


def queries(form: Formatted = Format.TABLE, out: Out = None) -> None:
    """List the questions of the query library: what each answers, what a row is, its parameters and unit.

    Reads no store. A table shows the main columns, the other formats all.

    Example: gradtrace queries --format json
    """
    from ...queries.database.library import load_queries
    from ..output import text_table

    rows = [
        {
            "name": query.name,
            "parameters": _signature(query),
            "answers": query.answers,
            "grain": ", ".join(query.grain),
            "unit": query.unit,
        }
        for query in load_queries().values()
    ]
    shown = ("name", "parameters", "answers") if form is Format.TABLE else tuple(rows[0])
    _print(text_table({name: [row[name] for row in rows] for name in shown}), form, out)


def info(store: StorePath, form: Formatted = Format.TABLE, out: Out = None) -> None:
    """Say what a store holds: model, settings, samples, graphs, sizes; and what it reveals to whom it is given.

    Reads STORE; prints one row per fact. Rows `reveals …` tell whether texts, tokens and labels of samples, names of
    checkpoints and files, and the model's weights are in it.

    Example: gradtrace info runs/demo/store
    """
    from ...queries import open_store
    from ...queries.show.cells import cell
    from ..output import text_table

    facts = open_store(store).info()
    _print(text_table({"name": list(facts), "value": [cell(value) for value in facts.values()]}), form, out)


def verify(store: StorePath, form: Formatted = Format.TABLE, out: Out = None) -> None:
    """Check every claim a store makes: files, keys, ranks, conservation, and each path counted again.

    Reads STORE; prints one row per check, and exits with 1 when one fails.

    Example: gradtrace verify runs/demo/store
    """
    from ...queries import open_store
    from ..output import text_table

    checks = open_store(store, check=False).verify()
    names = [check.name for check in checks]
    verdicts = ["ok" if check.ok else "FAILED" for check in checks]
    _print(text_table({"result": verdicts, "check": names, "detail": [check.detail for check in checks]}), form, out)
    if not all(check.ok for check in checks):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add these commands to an application."""
    add(app, (trace, importance, sql, query, queries, info, verify))
