"""All tests: one thread per operator, for small models are slower with two; threads that wait sleep, and the garbage
collector leaves the libraries alone, which have a million objects. Exports are shared by all tests but their own.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from contextlib import nullcontext
from pathlib import Path

import pytest

# before anything loads torch or numba
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning takes the core of another worker

OF_THE_EXPORT = Path(__file__).parent / "exporters" / "torch_export"


def pytest_collection_finish() -> None:
    """Every library is loaded by now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_sessionfinish() -> None:
    """At the end libraries count what is left."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _folder_of_exports(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> None:
    """One for all workers."""
    from .exported_once import FOLDER

    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "exports"
    folder.mkdir(exist_ok=True)
    os.environ[FOLDER] = str(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Around the fixtures too."""
    from .exported_once import exported_once

    with nullcontext() if OF_THE_EXPORT in item.path.parents else exported_once():
        return (yield)
