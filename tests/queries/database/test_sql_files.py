"""All SQL of queries: in files under a header that says its contract, in one style, and in Python one-liners only."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from gradtrace.queries import Store
from gradtrace.queries.database.connection import sql_type
from gradtrace.queries.database.headers import CHECKS, MACROS, QUERIES, VIEWS, SqlFile, read_file, sql_files
from gradtrace.queries.database.library import grain
from gradtrace.queries.methods import METHODS
from gradtrace.queries.schema import COLUMNS, GRAIN, GRAPH_TABLES, SHARD_TABLES, tables_of_view, view_schema

QUERIES_FOLDER = Path(__file__).parents[3] / "queries"
TABLES = {*GRAPH_TABLES, *SHARD_TABLES}
KINDS = (QUERIES, MACROS, VIEWS, CHECKS)
FILES = {(kind, name): file for kind in KINDS for name, file in sql_files(kind).items()}
IDS = [f"{kind}/{name}" for kind, name in FILES]
PYTHON = sorted(QUERIES_FOLDER.rglob("*.py"))


def of_kind(*kinds: str) -> pytest.MarkDecorator:
    """The files of these kinds as cases."""
    cases = {f"{kind}/{name}": file for (kind, name), file in FILES.items() if kind in kinds}
    return pytest.mark.parametrize("file", cases.values(), ids=cases)


def body(file: SqlFile) -> str:
    """The statement without comments and without what its strings hold."""
    lines = [line for line in file.sql.splitlines() if not line.lstrip().startswith("--")]
    return re.sub(r"'[^']*'", "''", "\n".join(lines))


def tables_read(file: SqlFile) -> set[str]:
    """The tables that a statement names, or that the macros which it calls read."""
    named = TABLES & set(re.findall(r"(?:from|join)\s+stored\.(\w+)", body(file)))
    views = TABLES & set(re.findall(r"(?:from|join)\s+(\w+)(?!\w*\()", body(file)))
    named = named.union(*map(tables_of_view, views))
    called = sql_files(MACROS).keys() & set(re.findall(r"(\w+)\(", body(file))) - {file.name}
    return named.union(*(tables_read(sql_files(MACROS)[name]) for name in called))


def ctes(file: SqlFile) -> list[str]:
    return re.findall(r"^(?:with |with recursive )?(\w+) as (?:materialized )?\($", body(file), re.MULTILINE)


def test_every_file_is_of_a_kind() -> None:
    found = {path.relative_to(QUERIES_FOLDER / "sql").with_suffix("") for path in QUERIES_FOLDER.rglob("*.sql")}
    assert found == {Path(name) if kind == QUERIES else Path(kind, name) for kind, name in FILES}
    assert all(len(sql_files(kind)) >= 15 for kind in (QUERIES, MACROS))
    assert len(sql_files(CHECKS)) >= 10
    assert set(sql_files(VIEWS)) == {table for table in TABLES if tables_of_view(table) != [table]}


@of_kind(*KINDS)
def test_files_keep_the_style(file: SqlFile) -> None:
    assert all(len(line) <= 80 for line in file.sql.splitlines())
    assert file.sql.endswith("\n")
    assert body(file) == body(file).lower()
    assert file.answers


@of_kind(*KINDS)
def test_declared_tables_are_the_read_ones(file: SqlFile) -> None:
    assert not TABLES & set(ctes(file)), "a name that a CTE takes is not the table"
    assert set(file.names("reads")) == tables_read(file)


@of_kind(QUERIES, CHECKS)
def test_declared_parameters_are_the_used_ones(file: SqlFile) -> None:
    (statement,) = duckdb.connect().extract_statements(file.sql)
    assert statement.named_parameters == {p.name for p in file.parameters}


@of_kind(QUERIES)
def test_queries_end_in_their_last_cte_in_order(file: SqlFile) -> None:
    assert grain(file)
    assert re.search(rf"\n\nselect \*.* from {ctes(file)[-1]}\norder by .*\Z", body(file))


@of_kind(CHECKS)
def test_checks_count_what_breaks_them(file: SqlFile) -> None:
    assert set(file.fields) <= {"reads", "tables", "needs", "param", "unit"}
    assert body(file).endswith("\n\nselect * from broken")
    assert ctes(file)[-1] == "broken"
    assert set(file.names("tables")) <= {*GRAIN, "all"}
    assert file.field("needs") in ("", "all")


@of_kind(MACROS)
def test_macros_declare_their_parameters(file: SqlFile) -> None:
    made = re.search(r"^create macro (\w+)\(([^)]*)\) as( table)?\b", file.sql, re.MULTILINE)
    assert made is not None
    assert made[1] == file.name
    given = [part.strip() for part in made[2].split(",") if part.strip()]
    declared = [p.name if p.default is None else f"{p.name} := {p.default}" for p in file.parameters]
    assert given == declared
    assert ("grain" if made[3] else "value") in file.fields
    assert {"grain", "value"} - set(file.fields)


@of_kind(MACROS)
def test_grain_of_macros(file: SqlFile, drawn: Store) -> None:
    """Every macro that is a table can be called, and its rows differ in the columns of its grain."""
    counts = "with counts as (from importance_counts('greedy'))"
    edges = "with candidates as (select 'greedy' as method, * exclude (method) from best_edges)"
    values = {
        "in_sample": "0",
        "in_vertex": "4",
        "in_method": "'greedy'",
        "in_counts": "'counts'",
        "in_edges": "'candidates'",
    }
    if "grain" not in file.fields:
        return
    given = ", ".join(values[p.name] for p in file.parameters if p.default is None)
    relation = drawn.sql(f"{counts}, {edges.removeprefix('with ')} from {file.name}({given})")
    listed = re.match(r"one row per (?:\(([\w, ]+)\)|(\w+)$)", file.field("grain"))
    if listed is None:
        return
    keys = [name for name in (listed[1] or listed[2]).replace(" ", "").split(",") if name in relation.columns]
    rows = relation.select(*keys).fetchall() if keys else []
    assert len(rows) == len(set(rows))


@of_kind(VIEWS)
def test_views_are_of_tables_with_derived_columns_and_read_files_alone(file: SqlFile) -> None:
    assert body(file).lstrip().startswith(f"create view {file.name} as")
    assert not re.search(r"(?:from|join)\s+(?!stored\.)\w+(?!\w*\()", body(file)), "views read files alone"
    assert any(not column.is_stored for column in COLUMNS[file.name])


@pytest.mark.parametrize("table", sorted(TABLES))
def test_columns_of_a_view_are_those_of_the_schema(table: str, drawn: Store) -> None:
    found = drawn.sql(f"from {table}")
    wanted = view_schema(table, drawn.manifest.dtype)
    assert found.columns == wanted.names
    assert [str(kind).lower() for kind in found.types] == [sql_type(field.type) for field in wanted]


def statements(path: Path) -> Iterator[tuple[int, int, str]]:
    """The strings of a file that read as SQL: first and last line, and text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = (ast.Module, ast.FunctionDef, ast.ClassDef)
    docstrings = {
        id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, texts) and isinstance(n.body[0], ast.Expr)
    }
    parts = {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    for node in ast.walk(tree):
        if id(node) in docstrings | parts or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        values = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in values)
        if re.search(r"\bselect\b.*\bfrom\b|^from \w|\bcreate (macro|view)\b", text, re.DOTALL):
            yield node.lineno, node.end_lineno or node.lineno, text


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(QUERIES_FOLDER)))
def test_a_statement_in_python_is_one_line_without_a_definition(path: Path) -> None:
    """What takes more, a `with`, a `group by`, a window or a `case`, is a file."""
    for first, last, text in statements(path):
        assert first == last, f"{path}:{first}: {text}"
        assert not re.search(r"\b(with|group by|over \(|case|union|filter)\b", text), f"{path}:{first}: {text}"


# What may stand in a statement that Python puts together: what one of these functions made of a text, ...
QUOTING = {"quote", "identifier", "identifiers", "listed", "pattern", "scan", "sql_type"}
# ... and these, which hold SQL or names of this package's own.
OWN = {
    "connection.py": {
        "STORED",
        "table",
        "columns",
        "name",
        "value",
        "column.name",
        "room >> 10",
        "rows",
        "math.ceil(timeout * 1000)",
        "i",
        "_text_of(kind)",
    },
    "definitions.py": {"name", "value", "n_parameters", "sql_of(method)"},
    "reader.py": {"columns", "source", "table", "where"},
    "sample_measures.py": {"OK", "given"},
    "sample_columns.py": {"column.sql"},
    "importance.py": {"values", "column.sql", "name"},
    "verify.py": {"OK"},
    # of the columns of an answer: their names are quoted, and these are put together of them
    "files.py": {"value", "n", "item", "text", "is_formula", "value_of(n, k)", "', '.join(packed)"},
}
IN_SQL = re.compile(
    r"^\(?(select|from|create|comment on|order by|copy|set|when)\b"
    r"|^\(?(sample_label|try_cast|if|read_parquet|to_json)\("
    r"|\bfrom \{\} where |::|\bas \{\}$|\} as \{|:= \{\}"
)


def pasted(path: Path) -> Iterator[tuple[int, str]]:
    """What stands in the f-strings of a file that read as a part of SQL: line and expression."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    raised = [n for n in ast.walk(tree) if isinstance(n, ast.Raise)]
    errors = {id(part) for error in raised for part in ast.walk(error)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr) or id(node) in errors:
            continue
        text = "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
        if IN_SQL.search(text):
            yield from ((node.lineno, ast.unparse(v.value)) for v in node.values if isinstance(v, ast.FormattedValue))


def test_nothing_is_pasted_into_sql_but_by_the_functions_that_quote() -> None:
    """Texts of a store, a file or a user are bound, or pass through `queries.database.quoting`."""
    pipeline = sorted((QUERIES_FOLDER.parent / "pipeline").rglob("*.py"))
    found = [(path, line, what) for path in [*PYTHON, *pipeline] for line, what in pasted(path)]
    assert len(found) > 20
    wrong = [
        f"{path.relative_to(QUERIES_FOLDER.parent)}:{line}: {what}"
        for path, line, what in found
        if re.match(r"\w*", what)[0] not in {*QUOTING, "_finite"} and what not in OWN.get(path.name, ())  # type: ignore[index]
    ]
    assert wrong == []


def test_statements_in_python_are_found() -> None:
    assert sum(len(list(statements(path))) for path in PYTHON) > 10


@of_kind(*KINDS)
def test_methods_are_named_as_defaults_only(file: SqlFile) -> None:
    lines = [line for line in file.sql.splitlines() if not re.search(r"^-- param: .* = '|in_method := '", line)]
    assert not any(f"'{method}'" in line for line in lines for method in METHODS)


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(QUERIES_FOLDER)))
def test_no_method_is_named_outside_its_table(path: Path) -> None:
    """The column `product` of paths is no method."""
    if path.name in ("methods.py", "tables.py", "path_list.py"):
        return
    named = {n.value for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Constant)}
    assert not named & set(METHODS)


def test_a_header_continues_over_lines() -> None:
    file = read_file(
        "a", "-- One\n-- two.\n-- unit:   edges;\n--         paths\n-- param:  $a bigint  first\n\nselect $a\n"
    )
    assert (file.answers, file.field("unit"), file.parameters[0].name) == ("One two.", "edges; paths", "a")
