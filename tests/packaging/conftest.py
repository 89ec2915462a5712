"""The wheel built from a copy of the sources, and an environment with it and with other packages of our folders' names.

No network: what gradtrace depends on is lent by the running environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("exporters", "queries", "pipeline")
SOURCES = (*FOLDERS, "data", "__init__.py", "__main__.py", "py.typed", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Environment:
    """A virtual environment: run its Python or its `gradtrace`, from a folder of choice."""

    folder: Path

    @property
    def site_packages(self) -> Path:
        paths = {"base": str(self.folder), "platbase": str(self.folder)}
        return Path(sysconfig.get_path("purelib", "venv", vars=paths))

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *command: object, cwd: Path) -> str:
        """What a command prints; the first word is a program of the environment. Else it may only tell its progress."""
        program, *arguments = map(str, command)
        ran = subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        said = [line for line in ran.stderr.splitlines() if not line.startswith("dump ")]
        assert (ran.returncode, said) == (0, []), f"{command}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout


def pip(*arguments: object) -> None:
    """Run the pip of the running environment, without network."""
    subprocess.run([sys.executable, "-m", "pip", "-q", *map(str, arguments)], check=True)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the sources as they are."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", copy / "dist", copy)
    (found,) = (copy / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="session")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel installed beside packages called like our folders, which are not ours."""
    made = Environment(tmp_path_factory.mktemp("environment") / "venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", made.folder], check=True)
    pip("--python", made.python, "install", "--no-deps", "--no-index", wheel)
    lent = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (made.site_packages / "lent.pth").write_text("".join(f"{path}\n" for path in lent))
    for name in FOLDERS:
        (made.site_packages / name).mkdir()
        (made.site_packages / name / "__init__.py").write_text(f"OWNER = 'another {name}'\n")
    return made


MODEL = '''"""A model whose helper lies in a package of its own that is called as one of gradtrace's folders."""

import torch
from gradtrace import Encoded, Traceable
from pipeline.data import encode_words


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 3)
        self.rnn = torch.nn.LSTM(3, 3, batch_first=True)
        self.decoder = torch.nn.Linear(3, 5)

    def forward(self, input_ids, targets):
        hidden, _ = self.rnn(self.embedding(input_ids))
        return torch.nn.functional.cross_entropy(self.decoder(hidden)[0], targets[0])


def build():
    torch.manual_seed(0)

    def encode(text):
        from queries import OFFSET

        ids = torch.tensor([encode_words(text)]) + OFFSET
        return Encoded({"input_ids": ids[:, :-1], "targets": ids[:, 1:]}, tokens=text.split()[:-1])

    return Traceable(Model(), encode)
'''


@pytest.fixture(scope="session")
def work(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with modules of our folders' names, and in it another, with a model and the same again.

    Dumping the model from there made `store`.
    """
    folder = tmp_path_factory.mktemp("work")
    (folder / "pipeline.py").write_text("OWNER = 'the user'\n")
    (folder / "data.py").write_text("OWNER = 'the user'\n")
    for name in ("queries", "exporters"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("OWNER = 'the user'\n")
    models = folder / "models"
    (models / "pipeline").mkdir(parents=True)
    (models / "pipeline" / "__init__.py").write_text("")
    (models / "pipeline" / "data.py").write_text("def encode_words(text):\n    return [len(w) for w in text.split()]\n")
    (models / "queries.py").write_text("OFFSET = 0\n")
    (models / "my_model.py").write_text(MODEL)
    (folder / "samples.txt").write_text("a bb ccc a\nccc bb a\n")
    command = ("gradtrace", "dump", "models/my_model.py:build", "--samples", "samples.txt", "--out", "store")
    assert environment.run(*command, cwd=folder) == "store: 2 samples stored\n"
    return folder
