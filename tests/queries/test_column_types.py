"""Every type of column DuckDB has, in every format: rows are written, and what is written can be read again."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gradtrace.pipeline.output import Format, print_rows
from gradtrace.queries import Store, StoreError

BIG = "170141183460469231731687303715884105727"
VALUES: dict[str, str] = {
    "null": "",
    "true": "true",
    "1::tinyint": "1",
    "18446744073709551615::ubigint": "18446744073709551615",
    f"{BIG}::hugeint": BIG,
    "1::uhugeint": "1",
    "1::bignum": "1",
    "1.5::float": "1.5",
    "'nan'::double": "nan",
    "'-inf'::double": "-inf",
    "1.25::decimal(10,2)": "1.25",
    "1.25::decimal(38,10)": "1.2500000000",
    "'x'": "x",
    "'a,b\"c'": 'a,b"c',
    "'=1+1'": "'=1+1",
    "'@SUM(A1)'": "'@SUM(A1)",
    "'-cmd'": "'-cmd",
    "'-3.5e-7'": "-3.5e-7",
    "'+'": "'+",
    "-5": "-5",
    "'abc'::blob": "abc",
    r"'\xFF\x00'::blob": r"\xFF\x00",
    "'10101'::bit": "10101",
    "date '2020-01-01'": "2020-01-01",
    "'0044-03-15 (BC)'::date": "0044-03-15 (BC)",
    "'99999-01-01'::date": "99999-01-01",
    "'infinity'::date": "infinity",
    "time '12:34:56.789'": "12:34:56.789",
    "timetz '12:34:56+02:00'": "12:34:56+02",
    "['101'::bit]": "[101]",
    "time_ns '12:00:00.123456789'": "12:00:00.123456789",
    "timestamp '2020-01-01 12:00:00'": "2020-01-01 12:00:00",
    "'294000-01-01 00:00:00'::timestamp": "294000-01-01 00:00:00",
    "'infinity'::timestamp": "infinity",
    "'2020-01-01 00:00:00.123456789'::timestamp_ns": "2020-01-01 00:00:00.123456789",
    "'2020-01-01'::timestamp_s": "2020-01-01 00:00:00",
    "'infinity'::timestamp_ns": "infinity",
    "timestamptz '2020-01-01 12:00:00+00'": "",
    "'0044-01-01 (BC)'::timestamptz": "",
    "interval 1 month": "1 month",
    "interval '-5 microseconds'": "-00:00:00.000005",
    "'00000000-0000-0000-0000-000000000001'::uuid": "00000000-0000-0000-0000-000000000001",
    "'a'::enum('a','b')": "a",
    "[1,2,null]": "[1,2,null]",
    "[1.5,'nan'::double]": "[1.5,null]",
    "[date '2020-01-01', null]": '["2020-01-01",null]',
    "['99999-01-01'::date]": '["99999-01-01"]',
    "[1.25::decimal(10,2)]": "[1.25]",
    "[interval 1 month]": '["1 month"]',
    "['a'::enum('a','b')]": '["a"]',
    "[[1],[null,2],null]": "[[1],[null,2],null]",
    "[[1.5],['inf'::double]]": "[[1.5],[null]]",
    "[]": "[]",
    "[1,2,3]::integer[3]": "[1,2,3]",
    "{'a':1,'b':'x'}": '{"a":1,"b":"x"}',
    "{'a':date '2020-01-01','b':[1.5::decimal(5,2)]}": '{"a":"2020-01-01","b":[1.5]}',
    "{'a':{'b':'inf'::double}}": '{"a":{"b":null}}',
    "map{'k':1}": '{"k":1}',
    "map{'k':'nan'::double}": '{"k":null}',
    "map{[1]:2}": '{"[1]":2}',
    "map{}": "{}",
    "union_value(n := 1)": '{"n":1}',
    "union_value(d := date '2020-01-01')": '{"d":"2020-01-01"}',
    "json('{\"a\":1}')": '{"a":1}',
    "1::variant": "",
}
FORMATS: tuple[Format, ...] = ("table", "csv", "json", "parquet")


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


@pytest.mark.parametrize("value", VALUES)
def test_every_type_in_every_format(drawn: Store, tmp_path: Path, value: str) -> None:
    for text in (f"select {value} as v from range(2)", f"select v from (select {value} as v) where false"):
        rows = drawn.rows(text)
        files = {form: tmp_path / form for form in FORMATS}
        for form, file in files.items():
            print_rows(rows, form, file)
        assert [set(row) for row in json.loads(files["json"].read_text(), parse_constant=_refuse)] == [
            {"v"} for _ in range(rows.num_rows)
        ]
        assert pq.read_table(files["parquet"]).num_rows == rows.num_rows
        written = read_csv(files["csv"])
        assert written[0] == ["v"]
        assert len(written) == rows.num_rows + 1
        if rows.num_rows and VALUES[value]:
            assert written[1] == [VALUES[value]]
        assert files["table"].read_text().splitlines()[0].strip() == "v"


def test_columns_of_one_name_get_numbers(drawn: Store, tmp_path: Path) -> None:
    text = "select p.node, n.node + 100 as node, 1 as node_1, 'x' as NODE from path_edges p join nodes n using (graph)"
    rows = drawn.rows(f"{text} order by 1, 2 limit 1")
    names = ["node", "node_1", "node_1_1", "NODE_2"]
    assert rows.column_names == names
    for form in FORMATS:
        print_rows(rows, form, tmp_path / form)
    (found,) = json.loads((tmp_path / "json").read_text())
    assert list(found) == names
    assert found["node_1"] == found["node"] + 100 - (found["node"] - 0)
    assert read_csv(tmp_path / "csv")[0] == names
    assert pq.read_table(tmp_path / "parquet").to_pylist() == [found]
    assert (tmp_path / "table").read_text().split()[:4] == names


@pytest.mark.parametrize("form", ["csv", "json", "table"])
def test_nothing_acts_on_a_terminal(drawn: Store, monkeypatch: pytest.MonkeyPatch, form: Format) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    rows = drawn.rows(r"select chr(27) || '[31m' || chr(155) || chr(8238) as v, chr(27) || ']0;x' as " + '"\x1b[2J"')
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "dumb")
    print_rows(rows, form)
    shown = screen.getvalue()
    assert "31m" in shown
    assert not {"\x1b", "\x9b", "\u202e", "\r", "\x07"} & set(shown)
    if form == "json":
        assert list(json.loads(shown)[0].values()) == ["\x1b[31m\x9b\u202e", "\x1b]0;x"]


@pytest.mark.parametrize("given", ["nan", "inf", "-inf", "-1", "1e400", "x", "", float("nan"), -0.5, None, [1], "١x"])
def test_a_parameter_that_is_no_number_is_refused(drawn: Store, given: object) -> None:
    for query, parameter in (("saturation", "threshold"), ("margins", "narrow"), ("conservation", "sample")):
        with pytest.raises(StoreError, match=f"parameter {parameter} is a") as error:
            drawn.query(query, **{parameter: given})  # type: ignore[arg-type]
        assert "\n" not in str(error.value)


def test_equal_statements_give_equal_digits(drawn: Store) -> None:
    """Numbers are added in one order, whatever the number of cores."""
    text = "select sum(1 / (1 + random_of)) from (select (range * 7919) % 10007 as random_of from range(3000000))"
    assert len({drawn.sql(text).fetchall()[0] for _ in range(5)}) == 1
    assert drawn.sql("select current_setting('threads')").fetchall() == [(1,)]
