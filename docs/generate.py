"""Write the pages that are made of the code: commands, columns, queries, Python names, rooms. `make docs` runs it.

A test fails when a page says something else than the code (`tests/docs/test_generated.py`).
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import typer

import gradtrace
from gradtrace.pipeline.cli import app
from gradtrace.queries.database.connection import sql_type
from gradtrace.queries.database.library import Query, load_queries
from gradtrace.queries.schema import COLUMNS, GRAIN, GRAPH_TABLES, ROWS, Column

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTE = "<!-- Made by docs/generate.py (make docs): change the code, not this page. -->"

# What the public functions and the methods of a store return.
RESULTS = {
    "TracedPath": "queries.paths.trace.Path",
    "Paths": "queries.paths.path_list.Paths",
    "PathStatistics": "queries.paths.statistics.PathStatistics",
    "Comparison": "queries.importance.comparison.Comparison",
    "Check": "queries.verify.verify.Check",
    "Query": "queries.database.library.Query",
    "Dumped": "pipeline.api.Dumped",
    "Recording": "exporters.recording.recorder.Recording",
}
# What arguments may be, by the modules that say so.
ALIASES = {
    "pipeline/api.py": ("Model", "Inputs", "SampleSource", "Encoder"),
    "queries/importance/comparison.py": ("Between",),
}
# Methods for everybody, that a store has from its base and that a recording has; the others are for gradtrace itself.
FROM_BASE = ("sql", "rows", "query", "queries", "close")
OF_RECORDING = ("value", "gradient", "is_finite")

# What the kind of an operator says of its edges.
EDGES = {
    "elementwise": "each input element to the output element it enters",
    "copies": "none: an output element *is* the input element it repeats",
    "reduces": "each input element to the output element it enters",
    "contracts": "each factor to the products' sums it enters",
    "composite": "those of the primitives it is made of",
    "without gradient": "none: integers, booleans and shapes",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(title: str, *parts: str) -> str:
    """A page that says that it is made, of parts with an empty line between them."""
    return "\n\n".join([f"# {title}", NOTE, *parts]) + "\n"


def prose(text: str) -> str:
    """A text in which nothing is taken for HTML."""
    return re.sub(r"<(?=[a-z/])", r"\\<", text)


# commands.md


def commands() -> str:
    """Every command with its arguments, options, defaults and examples."""
    group = typer.main.get_command(app)
    intro = prose(" ".join((group.help or "").split("\n\n")[1:]))
    sections = [section(f"gradtrace {name}", command) for name, command in group.commands.items()]  # type: ignore[attr-defined]
    return page("Commands", intro, options(group.params), *sections)


def section(title: str, command: Any) -> str:
    """One command."""
    said: list[str] = []
    examples: list[str] = []
    for paragraph in inspect.cleandoc(command.help).split("\n\n"):
        example = paragraph.removeprefix("Example: ")
        (said if example == paragraph else examples).append(example)
    arguments = " ".join(name(p) if p.required else f"[{name(p)}]" for p in command.params if not is_option(p))
    usage = f"`{' '.join(f'{title} {arguments}'.split())} [OPTIONS]`"
    parts = [f"## {title}", usage, *map(prose, said), options(command.params)]
    return "\n\n".join([*parts, *(["```sh\n" + "\n".join(examples) + "\n```"] if examples else [])])


def is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def options(parameters: Iterable[Any]) -> str:
    """A table of arguments and options, if there are any."""
    rows = [(f"`{name(p)}`", default(p), prose(p.help or "")) for p in parameters if p.name != "help"]
    return table(("argument or option", "default", "meaning"), rows) if rows else "It has no options."


def name(parameter: Any) -> str:
    """An option with what it takes, as on the command line; an argument by its name."""
    if not is_option(parameter):
        return str(parameter.metavar or parameter.name.upper())
    opts = ", ".join(parameter.opts) + "".join(f" / {opt}" for opt in parameter.secondary_opts)
    if parameter.is_flag:
        return opts
    return f"{opts} {parameter.metavar or kind(parameter.type_descriptor.annotation)}"


def kind(of: Any) -> str:
    """What an option takes: one of several words, or a value of a type."""
    of = next(iter(get_args(of)), of)  # list[str] takes one at a time
    if issubclass(of, Enum):
        return "|".join(str(member.value) for member in of)
    return {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH"}[of]


def default(parameter: Any) -> str:
    """What stands when an option is not given."""
    if parameter.required:
        return "required"
    if is_option(parameter) and parameter.is_flag:
        return "on" if parameter.default else "off"
    return f"`{value(parameter.default)}`" if parameter.default not in (None, [], ()) else ""


def value(given: object) -> str:
    """A value as one types it."""
    return str(given.value if isinstance(given, Enum) else given)


# store.md


def store() -> str:
    """Every table, what a row of it is, and every column."""
    intro = (
        "A store is a folder of Parquet files, with a view of each table's name in `gradtrace sql` and `Store.sql`. "
        "Files hold no column that follows from others: where the third column names tables, the view finds the column "
        "in them, which takes time in a statement over many rows. A column *on request* is in the files of a store "
        "that was asked for it; in the view of another one it is null. The views of the schema `stored`, as in `from "
        "stored.best_edges`, show what is in the files and nothing else. "
        "Types are DuckDB's. `real` is `float`, in a store of `--dtype float64` it is `double`. In SQL these sentences "
        "are comments: `select column_name, comment from duckdb_columns() where schema_name = 'main' and table_name = "
        "'nodes'`."
    )
    return page("Tables of a store", intro, *(of_table(name, columns) for name, columns in COLUMNS.items()))


def of_table(name: str, columns: Sequence[Column]) -> str:
    """One table."""
    where = f"`{name}.parquet`" if name in GRAPH_TABLES else f"`{name}/shard=*/part-*.parquet`"
    key = ", ".join(f"`{column}`" for column in GRAIN[name])
    rows = [(f"`{c.name}`", type_name(c), origin(c), prose(c.text)) for c in columns]
    head = ("column", "type", "in the files", "meaning")
    return f"## {name}\n\n{ROWS[name]} Key: {key}. Files: {where}.\n\n{table(head, rows)}"


def origin(column: Column) -> str:
    """Whether the files have a column, or which tables it follows from."""
    if column.on_request:
        return "on request"
    return "yes" if column.is_stored else f"from {', '.join(f'`{name}`' for name in column.derived_from)}"


def type_name(column: Column) -> str:
    """The type of a column; that of values and gradients depends on the store."""
    return "real" if column.type == pa.float32() else sql_type(column.type)


# queries.md


def queries() -> str:
    """Every query of the library, from the headers of the files."""
    intro = "`gradtrace query STORE NAME -p PARAMETER=VALUE`, or `store.query(name, parameter=value)` in Python."
    return page("Queries", intro, *map(of_query, load_queries().values()))


def of_query(query: Query) -> str:
    """One query."""
    facts = [
        f"- one row per {', '.join(query.grain)}",
        f"- reads {', '.join(f'[`{name}`](store.md#{name})' if name in ROWS else f'`{name}`' for name in query.reads)}",
        f"- unit: {prose(query.unit)}",
    ]
    rows = [
        (f"`{p.name}`", p.type, "required" if p.default is None else f"`{p.default}`", prose(p.text))
        for p in query.parameters
    ]
    parameters = [table(("parameter", "type", "default", "meaning"), rows)] if rows else []
    return "\n\n".join([f"## {query.name}", prose(query.answers), "\n".join(facts), *parameters])


# python.md


def python() -> str:
    """Every public name with its signature and docstring, and what the methods of a store return."""
    public = {name: getattr(gradtrace, name) for name in gradtrace.__all__ if not name.startswith("_")}
    parts = [
        "What `import gradtrace as gt` gives. The package has types, and each of its errors is a `GradtraceError`.",
        *(of_name(public[name], name) for name in sorted(public, key=lambda name: _rank(public[name]))),
        "## What arguments may be",
        code("\n".join(alias(ROOT / path, name) for path, names in ALIASES.items() for name in names)),
        "## What these return",
        *(of_name(_find(path), name, level=3) for name, path in RESULTS.items()),
    ]
    return page("Python", *parts)


def alias(module: Path, name: str) -> str:
    """The line of a module that says what a name stands for."""
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.unparse(node)
    raise LookupError(f"{module} defines no {name}")


def _rank(found: Any) -> int:
    """Functions first, then classes, then errors."""
    return 0 if not inspect.isclass(found) else 2 if issubclass(found, Exception) else 1


def _find(path: str) -> Any:
    """Something of gradtrace by the path of its module and its name."""
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"gradtrace.{module}"), name)


def of_name(found: Any, name: str, level: int = 2) -> str:
    """A function, an error, or a class with its methods."""
    heading = f"{'#' * level} {name}"
    if not inspect.isclass(found):
        return f"{heading}\n\n{code(signature(found, name))}\n\n{doc(found)}"
    if issubclass(found, Exception):
        assert found.__base__ is not None
        return f"{heading}\n\n{code(f'class {name}({found.__base__.__name__})')}\n\n{doc(found)}"
    made = [] if name in ("Store", "Recording") else [code(signature(found, name))]
    return "\n\n".join([heading, *made, doc(found), *methods(found, name)])


def methods(found: type, name: str) -> Iterator[str]:
    """The public methods and properties of a class; of a store, those of its base that are for everybody."""
    there = {key: inspect.getattr_static(found, key) for key in FROM_BASE if name == "Store"}
    for key, member in (vars(found) | there).items():
        if key.startswith("_") or key in found.__annotations__ or (name == "Recording" and key not in OF_RECORDING):
            continue
        if inspect.isfunction(member):
            yield f"{code(signature(member, f'{name.lower()}.{key}', skip=1))}\n\n{doc(member)}"
        elif isinstance(member, property) and member.fget is not None:
            kind = inspect.signature(member.fget).return_annotation
            yield f"{code(f'{name.lower()}.{key}: {kind}')}\n\n{doc(member)}"


def signature(found: Callable[..., Any], name: str, skip: int = 0) -> str:
    """A call with its parameters, one a line where they do not fit in one."""
    given = inspect.signature(found)
    parameters = list(given.parameters.values())[skip:]
    shown = [parameter(p) for p in parameters]
    kinds = [p.kind for p in parameters]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        shown.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    returns = given.return_annotation
    end = f") -> {returns}" if isinstance(returns, str) and returns != "None" else ")"
    line = f"{name}({', '.join(shown)}{end}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {p},\n" for p in shown) + end


def parameter(given: inspect.Parameter) -> str:
    """One parameter with its type and default, as one writes it."""
    stars = "*" if given.kind is given.VAR_POSITIONAL else "**" if given.kind is given.VAR_KEYWORD else ""
    of = getattr(given.annotation, "__forward_arg__", given.annotation)
    value = "" if given.default is given.empty else f" = {re.sub('<.*>', '...', repr(given.default))}"
    return f"{stars}{given.name}: {of}{value}"


def code(text: str) -> str:
    """A block of Python."""
    return f"```py\n{text}\n```"


_ELSEWHERE = re.compile(r"; see `(queries\.[\w.]+)`(?=\.)")
_FACTS = re.compile(r"(?<=\S) {3,}(?=\w+(?:, \w+)*: )")  # several in one line
_ITEM = re.compile(r"(\w+(?:, \w+)*): +(.*)")


def doc(found: Any) -> str:
    """A docstring, with that of the function it refers to; its lines `name: text` become a list."""
    text = inspect.getdoc(found) or ""
    elsewhere = _ELSEWHERE.search(text)
    parts = [_ELSEWHERE.sub("", text)]
    if elsewhere is not None:
        parts += referred(import_module(f"gradtrace.{elsewhere[1]}"), found.__name__)
    return prose("\n\n".join(block(paragraph) for part in parts for paragraph in part.split("\n\n")))


def referred(module: Any, name: str) -> Iterator[str]:
    """The docstring of the function that is called `name` or like its module; with the module's, if it says so."""
    for candidate in (name, module.__name__.rpartition(".")[2]):
        function = getattr(module, candidate, None)
        if getattr(function, "__module__", None) == module.__name__:
            text = inspect.getdoc(function) or ""
            yield text
            if "The module says" in text:
                yield inspect.cleandoc(module.__doc__)
            return
    raise LookupError(f"{module.__name__} defines no {name}")


def block(paragraph: str) -> str:
    """A paragraph, whose lines `name: text` become a list if no other line goes on in the middle of a sentence."""
    lines = [fact for line in paragraph.split("\n") for fact in _FACTS.split(line)]
    first = next((i for i, line in enumerate(lines) if _ITEM.fullmatch(line)), len(lines))
    if any(line[0].islower() and not _ITEM.fullmatch(line) for line in lines[first:]):
        return paragraph
    shown = [" ".join(lines[:first])]
    for line in lines[first:]:
        item = _ITEM.fullmatch(line)
        if item is not None:
            names = ", ".join(f"`{name}`" for name in item[1].split(", "))
            shown.append(f"- {names}: {item[2]}")
        elif line.startswith("    "):
            shown[-1] += f" {line.strip()}"
        elif shown[-1].startswith("- "):
            shown += ["", line]
        else:
            shown[-1] += f" {line}"
    return "\n".join([*shown[:1], *([""] if len(shown) > 1 and shown[0] else []), *shown[1:]]).strip()


# architecture.md and operators.md: written by hand but for one table


def with_table(name: str, made: str) -> str:
    """A page as it is, with the table between its two marks made anew."""
    text = (DOCS / name).read_text(encoding="utf-8")
    marks = re.compile(r"(<!-- made by docs/generate.py: .*? -->\n).*?(?=<!-- end -->)", re.S)
    return marks.sub(lambda mark: f"{mark[1]}\n{made}\n\n", text)


def architecture() -> str:
    """Every package of the three folders with the first paragraph of its docstring."""
    tops = ("exporters", "queries", "pipeline")
    folders = [init.parent.relative_to(ROOT) for top in tops for init in sorted(ROOT.glob(f"{top}/**/__init__.py"))]
    rows = [(f"`{folder}/`", first_paragraph(ROOT / folder)) for folder in sorted(folders)]
    return with_table("architecture.md", table(("folder", "what happens in it"), rows))


def first_paragraph(folder: Path) -> str:
    """What a package says it is."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    return prose(" ".join(text.split("\n\n")[0].split("\n")))


def operators() -> str:
    """Every operator that can be run, under its kind."""
    from gradtrace.exporters.onnx_graph import reader
    from gradtrace.exporters.operators.registry import COMPOSITES, PRIMITIVES, WITHOUT_GRADIENT

    assert reader  # importing it registers every operator
    kinds: dict[str, list[str]] = {kind: [] for kind in EDGES}
    for primitive in PRIMITIVES.values():
        kinds[primitive.kind].append(primitive.name)
    kinds["composite"] += COMPOSITES
    kinds["without gradient"] += WITHOUT_GRADIENT
    rows = [(kind, EDGES[kind], ", ".join(sorted(names))) for kind, names in kinds.items()]
    return with_table("operators.md", table(("kind", "edges", "operators"), rows))


PAGES: dict[str, Callable[[], str]] = {
    "architecture.md": architecture,
    "commands.md": commands,
    "operators.md": operators,
    "python.md": python,
    "queries.md": queries,
    "store.md": store,
}


def main() -> None:
    """Write the pages that are not as they should be."""
    for name, make in PAGES.items():
        text = make()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != text:
            (DOCS / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
