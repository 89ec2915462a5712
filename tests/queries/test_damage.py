"""A damaged store gives the answers of before, or one line that says it is damaged; and `verify` finds each damage.

By hand, with more damages: `python -m tests.queries.test_damage STORE-OF-A-DUMP 500`, or without a store.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gradtrace.queries import Store, StoreError, open_store
from gradtrace.queries.manifest import MANIFEST

from .drawing import write_store
from .drawn_cell import drawn_samples

Damage = Callable[[Path, random.Random], object]

NO_ANSWER = "refused"


def _flip(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    at = draw.randrange(len(content))
    content[at] ^= 1 << draw.randrange(8)
    file.write_bytes(content)


def _zero(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    at = draw.randrange(len(content))
    content[at : at + 64] = bytes(max(1, len(content[at : at + 64])))
    content[at] |= 0x55 if file.read_bytes()[at] == 0 else 0
    file.write_bytes(content)


def _cut(file: Path, draw: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: -draw.randrange(1, file.stat().st_size)])


def _swap(file: Path, draw: random.Random) -> None:
    """With another file: of the same table where there is one, so that all columns fit."""
    store = next(parent for parent in file.parents if (parent / MANIFEST).exists() or parent.name == "store")
    others = [path for path in store.rglob("*") if path.is_file() and path.read_bytes() != file.read_bytes()]
    alike = [path for path in others if path.parent.parent == file.parent.parent != store]
    other = draw.choice(alike or others)
    ours, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    other.write_bytes(ours)


def _edit(file: Path, draw: random.Random) -> None:
    """A number of the manifest."""
    path = file if file.name == MANIFEST else next(p / MANIFEST for p in file.parents if (p / MANIFEST).exists())
    text = path.read_text()
    at = draw.choice([i for i, letter in enumerate(text) if letter.isdigit()])
    path.write_text(text[:at] + draw.choice("0123456789".replace(text[at], "")) + text[at + 1 :])


DAMAGES: dict[str, Damage] = {
    "a bit flipped": _flip,
    "bytes zeroed": _zero,
    "cut": _cut,
    "swapped": _swap,
    "emptied": lambda file, _: file.write_bytes(b""),
    "lengthened": lambda file, _: file.write_bytes(file.read_bytes() + b"\0"),
    "deleted": lambda file, _: file.unlink(),
    "a digit of the manifest": _edit,
}
QUESTIONS: dict[str, Callable[[Store], object]] = {
    "info": lambda store: store.info(),
    "importance": lambda store: store.importance().fetchall(),
    "walked importance": lambda store: store.importance(by=["layer", "step"]).fetchall(),
    "sql": lambda store: store.rows("select * from edges").to_pylist(),
    "query": lambda store: store.query("margins").fetchall(),
    "trace": lambda store: [store.trace(_parameter(store), sample).text() for sample in (0, 1)],
    "k best": lambda store: store.k_best(_parameter(store), k=2).text(),
}


def _parameter(store: Store) -> str:
    return store.graph(0).vertex_name(0)


def answers(path: Path) -> dict[str, object]:
    """What each question is answered, each of a store opened anew."""
    found: dict[str, object] = {}
    for name, ask in QUESTIONS.items():
        try:
            with open_store(path) as store:
                found[name] = repr(ask(store))
        except StoreError as error:
            found[name] = NO_ANSWER if "\n" not in str(error) else f"several lines: {error}"
    return found


def is_found(path: Path) -> bool:
    """Whether `verify` says that something is wrong."""
    try:
        with open_store(path, check=False) as store:
            return not all(check.ok for check in store.verify())
    except StoreError:
        return True


def damaged(whole: Path, to: Path, number: int) -> str:
    """A copy of the store with damage `number`, which is the same each time: what was done to which file."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(whole, to)
    draw = random.Random(number)
    files = sorted(path for path in to.rglob("*") if path.is_file() and path.name != ".lock")
    file = files[number % len(files)]
    name = draw.choice(list(DAMAGES))
    DAMAGES[name](file, draw)
    return f"{file.relative_to(to)}: {name}"


def outcome(whole: Path, to: Path, number: int, right: dict[str, object]) -> str:
    """What became of one damage: 'refused' or 'as before', whether all questions were, and that `verify` found it."""
    what = damaged(whole, to, number)
    found = answers(to)
    wrong = [name for name, answer in found.items() if answer not in (right[name], NO_ANSWER)]
    assert wrong == [], f"{number}: {what}: another answer to {wrong}"
    assert is_found(to), f"{number}: {what}: verify found nothing"
    refused = sum(answer == NO_ANSWER for answer in found.values())
    return "refused" if refused == len(found) else "as before" if refused == 0 else "refused where it matters"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = write_store(tmp_path_factory.mktemp("whole") / "store", drawn_samples())
    assert NO_ANSWER not in answers(path).values()
    assert not is_found(path)
    return path


@pytest.fixture(scope="module")
def right(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    copy = tmp_path_factory.mktemp("right") / "store"
    shutil.copytree(whole, copy)
    return answers(copy)


@pytest.mark.parametrize("number", [pytest.param(n, marks=[] if n < 30 else pytest.mark.slow) for n in range(60)])
def test_no_damage_is_answered(
    whole: Path, right: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.chdir(tmp_path)
    right = {name: str(answer).replace(str(whole.parent), "") for name, answer in right.items()}
    monkeypatch.setitem(QUESTIONS, "info", lambda store: {**store.info(), "path": ""})
    right["info"] = repr({**open_store(whole).info(), "path": ""})
    assert outcome(whole, tmp_path / "store", number, right)


def test_damages_are_of_every_kind(whole: Path, tmp_path: Path) -> None:
    done = [damaged(whole, tmp_path / "store", number) for number in range(60)]
    assert {what.split(": ")[1] for what in done} == set(DAMAGES)
    assert len({what.split(": ")[0] for what in done}) >= len(json.loads((whole / MANIFEST).read_text())["graph_files"])


def main(store: str | None = None, n: str = "500") -> None:
    """Damage a copy of a store `n` times, and count what became of it."""
    QUESTIONS["info"] = lambda store: {**store.info(), "path": ""}
    with TemporaryDirectory() as folder:
        whole = Path(store) if store else write_store(Path(folder) / "whole", drawn_samples())
        right, found = answers(whole), Counter[str]()
        for number in range(int(n)):
            found[outcome(whole, Path(folder) / "store", number, right)] += 1
        sys.stdout.write(f"{n} damages, all found by verify: {dict(found)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
