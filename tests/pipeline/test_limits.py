"""SELECTs that allocate, spill or run without end are stopped in about their timeout, and say so in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradtrace.queries import Store, StoreError

LONG = "select count(*) from range(10000000000) a where hash(a.range) = 1"
ENDLESS = "with recursive t as (select 1 as a union all select a + 1 from t) select count(*) from t"
ONE_CALL = "select levenshtein(repeat('a', 1000000), repeat('b', 1000000))"  # DuckDB does not look at the clock in it
TIMED_OUT = "error: the SQL was stopped: it took longer than its timeout"
BOMBS = {
    LONG: TIMED_OUT,
    ENDLESS: TIMED_OUT,
    ONE_CALL: TIMED_OUT,
    "select sleep_ms(1000000)": TIMED_OUT,
    "with recursive t as (select 1 as a union select a + 1 from t) select max(a) from t": TIMED_OUT,
    "select * from range(1000000000000000)": "error: ",
    "select hash(range), range from range(3000000000) order by 1": "error: ",
    "select count(*) from range(1000000000) a, range(1000000000) b where a.range % 7 = b.range % 11": "error: ",
    "select regexp_replace(repeat('a', 1000000000), 'a', 'bb', 'g')": "error: ",
    "select repeat('x', 10000000000)": "error: ",
    "select length(repeat('x', 1000000000 + range)) from range(100000)": "error: ",
    "select sum(a) from (select unnest(range(4000000000)) a)": "error: ",
    "select string_agg(range::varchar) from range(10000000000)": "error: ",
    "select list(range) from range(10000000000)": "error: ",
    "select list_transform(range(100000000), lambda x: list_transform(range(100000000), lambda y: x * y))": "error: ",
    "with recursive t as (select 'x' as a union all select a || a from t) select length(a) from t": "error: ",
    "select string_split(repeat('a,', 1000000000), ',')": "error: ",
}
FAST = (ENDLESS, ONE_CALL, "select sum(a) from (select unnest(range(4000000000)) a)")


def command(store: Path, text: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "gradtrace", "sql", str(store), text, *options]


@pytest.mark.parametrize("bomb", [pytest.param(b, marks=[] if b in FAST else pytest.mark.slow) for b in BOMBS])
def test_a_bomb_is_stopped(drawn_store: Path, bomb: str) -> None:
    ran = subprocess.run(command(drawn_store, bomb, "--timeout", "1"), capture_output=True, text=True, timeout=300)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith(BOMBS[bomb])
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("text", [ENDLESS, pytest.param(ONE_CALL, marks=pytest.mark.slow)])
def test_ctrl_c_stops_it(drawn_store: Path, text: str, tmp_path: Path) -> None:
    running = subprocess.Popen(
        command(drawn_store, text),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"TMPDIR": str(tmp_path)},
    )
    while not list(tmp_path.glob("gradtrace-*")):  # the folder for what does not fit in memory: the store is opened
        time.sleep(0.1)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=300)
    assert (running.returncode, out) == (130, "")
    assert err.count("\n") == 1
    assert err.startswith("interrupted")
    assert list(tmp_path.glob("gradtrace-*")) == []


@pytest.mark.parametrize("text", [LONG, ENDLESS])
def test_a_statement_has_a_timeout_in_python(drawn_opened: Store, text: str) -> None:
    with pytest.raises(StoreError, match="longer than its timeout"):
        drawn_opened.rows(text, timeout=0.2)
    assert drawn_opened.rows("select 1 as a", timeout=0).to_pylist() == [{"a": 1}]


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
def test_a_timeout_is_a_number_of_seconds(drawn_opened: Store, timeout: float) -> None:
    with pytest.raises(StoreError, match="got a timeout of"):
        drawn_opened.sql("select 1", timeout=timeout)


@pytest.fixture(scope="module")
def drawn_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ..queries.drawing import write_store
    from ..queries.drawn_cell import drawn_samples

    return write_store(tmp_path_factory.mktemp("drawn") / "store", drawn_samples())


@pytest.fixture(scope="module")
def drawn_opened(drawn_store: Path) -> Store:
    from gradtrace.queries import open_store

    return open_store(drawn_store)
