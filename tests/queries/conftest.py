"""Stores of the samples of `drawn_cell`."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradtrace.queries import Store, open_store

from .drawing import WITH_PRODUCT, write_store
from .drawn_cell import drawn_samples


@pytest.fixture
def drawn_path(tmp_path: Path) -> Path:
    """A fresh copy of the drawn store, to damage as one likes."""
    return write_store(tmp_path / "store", drawn_samples())


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The drawn store with every edge, opened."""
    return open_store(write_store(tmp_path_factory.mktemp("drawn") / "store", drawn_samples()))


@pytest.fixture(scope="session")
def drawn_parameters(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The drawn store in detail 'parameters', without the gradients of parameters."""
    path = tmp_path_factory.mktemp("drawn") / "parameters"
    return open_store(write_store(path, drawn_samples(), detail="parameters", parameter_vertices=False))


@pytest.fixture(scope="session")
def drawn_methods(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The drawn store traced by greedy and by product."""
    path = tmp_path_factory.mktemp("drawn") / "methods"
    return open_store(write_store(path, drawn_samples(), methods=WITH_PRODUCT))
