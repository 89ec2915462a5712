"""All tests: one thread per operator, for small models are slower with two; threads that wait sleep, and the garbage
collector leaves the libraries alone, which have a million objects. Exports are shared by all tests but their own.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

# before anything loads torch or numba
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning takes the core of another worker

# files of few tests that take long: begun first, or they would run alone at the end
LONG = ("test_readme.py", "test_cli.py", "test_dump_engines.py", "test_dump_resume.py")
OF_THE_EXPORT = Path(__file__).parent / "exporters" / "torch_export"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order of LONG, all others behind them as they are."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


def pytest_collection_finish() -> None:
    """Every library is loaded by now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_sessionfinish() -> None:
    """At the end libraries count what is left."""
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def _folder_of_exports(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One for all workers."""
    from .exported_once import FOLDER

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    folder.mkdir(exist_ok=True)
    os.environ[FOLDER] = str(folder)


@pytest.fixture(scope="session", autouse=True)
def _kernels_compiled_once(_folder_of_exports: None) -> Iterator[None]:
    """What a worker compiles the others wait for and load; numba's cache alone would let each compile it."""
    from filelock import FileLock
    from numba.core.dispatcher import Dispatcher

    from .exported_once import FOLDER

    compile_alone = Dispatcher.compile

    def compile_once(kernel: Dispatcher, signature: object) -> object:
        if not kernel.__module__.startswith("gradtrace."):  # numba's own, which no cache keeps
            return compile_alone(kernel, signature)
        name = f"{kernel.__module__}.{kernel.__name__}.lock"
        with FileLock(Path(os.environ[FOLDER]) / name, is_singleton=True):
            return compile_alone(kernel, signature)

    Dispatcher.compile = compile_once
    yield
    Dispatcher.compile = compile_alone


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Around the fixtures too."""
    from .exported_once import exported_once

    with nullcontext() if OF_THE_EXPORT in item.path.parents else exported_once():
        return (yield)
