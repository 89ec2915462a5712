"""What is shown of rows: text and HTML tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest

from gradtrace.queries import Store
from gradtrace.queries.show.cells import cell
from gradtrace.queries.show.files import write_csv, write_json
from gradtrace.queries.show.html import html_table
from gradtrace.queries.show.text import plain_lines, print_on_terminal

NASTY = "\x1b[31mred\r\n\t[bold]x[/] <b>&amp;\u202e\x07"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (0.123456, "0.1235"),
        (-0.00012345, "-0.0001234"),
        (3.0, "3"),
        (1234.5, "1234"),
        (83133.4, "83133"),
        (27_999_999.6, "28000000"),
        (4.443e8 + 0.5, "4.443e+08"),
        (2.0**60, "1.153e+18"),
        (float("nan"), "nan"),
        (-math.inf, "-inf"),
        (12345678901, "12345678901"),
        (True, "True"),
        ([1.0, None, "a"], "[1, , a]"),
        ({"a": 0.5}, "a = 0.5"),
        ("a\nb\x1b[2J\u202e", "a\\nb\\x1b[2J\\u202e"),
    ],
)
def test_cells(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_plain_text_is_as_wide_as_it_takes() -> None:
    wide = "w" * 300
    assert list(plain_lines(["name", "n"], [["a", wide], [1, None]])) == [
        f"name{' ' * 296}  n",
        f"a{' ' * 299}  1",
        wide,
    ]
    assert list(plain_lines(["a", "b"], [[], []])) == ["a  b"]


def test_markup_and_controls_are_text() -> None:
    (_, line) = plain_lines(["name"], [[NASTY]])
    assert line == "\\x1b[31mred\\r\\n\\t[bold]x[/] <b>&amp;\\u202e\\x07"
    (head, _) = plain_lines([NASTY], [["x"]])
    assert head == line


def test_long_tables_are_aligned_over_blocks() -> None:
    numbers = list(range(2500))
    lines = list(plain_lines(["name", "n"], [[f"row {i}" for i in numbers], numbers]))
    assert len(lines) == 2501
    assert {len(line) for line in lines} == {len("row 2499  2499")}


def test_wide_characters_are_aligned() -> None:
    lines = list(plain_lines(["token", "n"], [["日本", "ab"], [1, 2]]))
    assert lines == ["token  n", "日本   1", "ab     2"]


def test_a_narrow_table_leaves_columns_out_and_tears_no_number() -> None:
    names = ["text", "first", "second", "third"]
    values: list[list[object]] = [["x" * 60], [123456789], [0.5], [987654321.0]]
    lines = list(plain_lines(names, values, 45))
    assert all(len(line) <= 45 for line in lines[:-1])
    assert "123456789" in "\n".join(lines)
    assert "".join(line.split()[0] for line in lines[1:-1]) == "x" * 60
    assert lines[-1].startswith("left out for want of room: third;")
    assert list(plain_lines(names, values, 200)) == list(plain_lines(names, values))


def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    file = io.StringIO()
    print_on_terminal(["n", "[b]"], [[1, 2], [NASTY, "b"]], file)
    assert "\x1b" not in file.getvalue()
    assert "[bold]x[/]" in file.getvalue().replace("\n", "").replace(" ", "")


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, _attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_is_escaped() -> None:
    html = html_table("<script>", ["<i>"], [["<b>", "a&b"]], ["note <u>"])
    parser = _Texts()
    parser.feed(html)
    assert set(parser.tags) == {"table", "caption", "thead", "tr", "th", "tbody", "td", "p"}
    assert parser.texts == ["<script>", "<i>", "<b>", "a&b", "note <u>"]


def test_answers_show_as_html(drawn: Store) -> None:
    for shown in (drawn.trace("out.bias"), drawn.k_best("out.bias"), drawn.compare(between="n_tokens=2,1")):
        html = shown._repr_html_()
        assert html.startswith("<table><caption>")
        assert "<td>" in html


def test_csv_and_json_keep_every_digit(tmp_path: Path) -> None:
    rows = pa.table(
        {
            "x": pa.array([0.1 + 0.2, float("nan"), None]),
            "f": pa.array([0.1, 1e-30, 2.0], pa.float32()),
            "text": ['a,"b"\n', "", NASTY],
            "list": pa.array([[1.5, float("inf")], [], None]),
            "map": pa.array([[("k", "v")], [], None], pa.map_(pa.string(), pa.string())),
        }
    )
    write_csv(rows, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["text"] for row in found] == rows["text"].to_pylist()
    assert (float(found[0]["x"]), found[0]["f"], found[0]["map"]) == (0.1 + 0.2, "0.1", '{"k":"v"}')
    write_json(rows, tmp_path / "rows.json")
    objects = json.loads((tmp_path / "rows.json").read_text())
    assert [row["x"] for row in objects] == [0.1 + 0.2, None, None]
    assert [row["text"] for row in objects] == rows["text"].to_pylist()
    assert objects[0]["list"] == [1.5, None]
    assert objects[0]["map"] == {"k": "v"}
    assert len((tmp_path / "rows.json").read_text().splitlines()) == 2 + 3


def test_columns_of_one_name_are_all_shown() -> None:
    rows = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    assert list(plain_lines(rows.column_names, [column.to_pylist() for column in rows.columns])) == ["a  a", "1  2"]
