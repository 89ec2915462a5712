"""What the README shows works: its commands, its model, its SQL, its Python, its links."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gradtrace.pipeline.cli import app
from gradtrace.pipeline.demo import N_SAMPLES
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import open_model
from gradtrace.pipeline.dump.samples import read_samples
from gradtrace.queries import Store, open_store

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language; there must be some."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.S | re.M)
    found = [text for name, text in fences if name == language]
    assert found, f"the README has no {language} block"
    return found


def commands() -> list[list[str]]:
    """Every `gradtrace …` line of the shell blocks, as arguments."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    found = [shlex.split(line, comments=True) for line in lines if "gradtrace " in line]
    return [words[1:] for words in found]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of an LSTM with the demo's names: the README's queries run on it."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "lstm.py").write_text(
        "import torch\n"
        "from gradtrace import Encoded, Traceable\n"
        "from gradtrace.pipeline.zoo import family, make_hyperparameters\n"
        "def build():\n"
        "    torch.manual_seed(0)\n"
        "    sizes = make_hyperparameters('lstm_lm', {'embedding_size': 4, 'hidden_size': 18})\n"
        "    ids = torch.tensor([[0, 3, 5, 1]])\n"
        "    inputs = {'input_ids': ids, 'targets': ids.roll(-1, 1)}\n"
        "    return Traceable(family('lstm_lm').build(9, sizes), lambda text: Encoded(inputs, ['a', 'b', 'c', 'd']))\n"
    )
    (folder / "samples.txt").write_text("one\ntwo\n")
    model = open_model(f"{folder / 'lstm.py'}:build", "float32")
    dump(model.traced, read_samples(folder / "samples.txt", model.encode), folder / "store", Settings())
    return open_store(folder / "store")


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_line_parses(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("sql", blocks("sql"))
def test_every_sql_block_answers(sql: str, store: Store) -> None:
    assert store.rows(sql).num_rows > 0


def test_the_python_block_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    block = next(b for b in blocks("python") if "open_store" in b)
    monkeypatch.chdir(store.path.parent)
    exec(block.replace("runs/demo/store", str(store.path)), {})
    assert "reaches the loss" in capsys.readouterr().out


def test_the_model_of_ones_own_can_be_dumped(tmp_path: Path) -> None:
    block = next(b for b in blocks("python") if "def build" in b)
    (tmp_path / "my_model.py").write_text(block)
    (tmp_path / "sentences.txt").write_text("the cat sat\nthe dog sat the cat\n")
    arguments = [f"{tmp_path / 'my_model.py'}:build", "--samples", str(tmp_path / "sentences.txt")]
    result = CliRunner().invoke(app, ["dump", *arguments, "--out", str(tmp_path / "store")])
    assert result.exit_code == 0, result.output
    with open_store(tmp_path / "store") as opened:
        assert opened.trace("gru.weight_hh_l0[2,1]", sample=1).end in ("loss", "dead")


def test_the_same_from_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_model.py").write_text(next(b for b in blocks("python") if "def build" in b))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    exec(next(b for b in blocks("python") if "gt.dump" in b), {})
    assert "greedy path of gru.weight_hh_l0[2,1], sample 1" in capsys.readouterr().out


def test_its_links_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.slow
def test_the_demo_ends_as_the_readme_shows(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    shown = next(b for b in blocks("") if b.startswith("1. Training"))
    for line in shown.splitlines():
        heading = re.match(r"\d\. [A-Z][\w ]+|parameter_group +decoder.*", line)
        assert heading is None or heading.group(0) in result.output
    with open_store(tmp_path / "demo" / "store") as opened:
        assert opened.info()["samples_recorded"] == N_SAMPLES
        assert all(check.ok for check in opened.verify())
