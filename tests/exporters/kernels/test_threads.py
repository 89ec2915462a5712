"""Kernels on several threads: every range of rows is the same work, whoever does it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gradtrace.exporters.kernels import threads
from gradtrace.exporters.kernels.cpu import CPU
from gradtrace.exporters.kernels.interface import NO_EDGE, Places

Z, X, Y = 30, 7, 600


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For everything, however little there is to do."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(threads, "_WORTH", 1)
    yield
    torch.set_num_threads(before)


def _numbers(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    """With zeros and ties among them."""
    generator = np.random.default_rng(list(shape))
    found = generator.normal(size=shape) * 2.0 ** generator.integers(-20, 3, shape)
    return np.where(generator.random(shape) < 0.2, np.sign(found) * generator.integers(0, 2, shape), found).astype(
        dtype
    )


LEFT, RIGHT = _numbers(Z, X), _numbers(Z, Y)
SPREADS, ENTROPY = np.log2(np.abs(_numbers(Z, X, dtype="float64")) + 2.0**-30), np.full((Z, X), 0.5)
TARGET = np.random.default_rng(0).integers(0, 900, (900, 2))
SLOT = (TARGET % 3).astype(np.int16)
OPERATORS = np.arange(5) * 1000, np.full(5, 250), np.arange(5) * 300


def _insert(distinct: bool) -> Any:
    shape = (X * Y if distinct else Y, 2)
    places = Places(np.zeros(shape, "float32"), np.zeros(shape, "float32"), np.full(shape, NO_EDGE))
    row = np.arange(X * Y).reshape(X, Y) % shape[0]
    CPU.insert_products(places, row, LEFT, RIGHT, _best_z(), np.arange(X), np.arange(Z) * X, distinct)
    return tuple(places)


def _best_z() -> Any:
    return CPU.best_products(LEFT, RIGHT, CPU.largest_of_rows(RIGHT), 2)


def _tally(*, turned: bool) -> Any:
    found = np.zeros((X, Z), np.int64), np.zeros((X, Z))
    CPU.tally_products(LEFT, RIGHT, _best_z(), _numbers(X * Y), turned, *found)
    return found


def _rows(*, turned: bool) -> Any:
    target = np.arange(Z * X).reshape(Z, X)
    return CPU.product_rows(7, target, np.arange(Z, dtype=np.int16), RIGHT, _best_z(), turned)


def _decode() -> Any:
    key = np.append(np.random.default_rng(0).integers(0, 5000, 999), NO_EDGE)
    return CPU.decode_keys(key, *OPERATORS), key


def _contributions() -> Any:
    found = np.empty(900, "float32")
    CPU.contributions(np.append(TARGET[1:, 0], -1), _numbers(900), _numbers(900), found)
    return (found,)


def _spread() -> Any:
    found = np.full((X, Y), -np.inf), np.zeros((X, Y))
    CPU.spread_of_products(SPREADS, ENTROPY, np.abs(RIGHT, dtype="float64"), *found, RIGHT[:X] > 0)
    return found


KERNELS: dict[str, Callable[[], Any]] = {
    "norms": lambda: (CPU.norms(_numbers(5000), np.arange(0, 5000, 100), np.arange(50)),),
    "decode_keys": _decode,
    "contributions": _contributions,
    "edge_rows": lambda: CPU.edge_rows(np.arange(900), np.arange(900), TARGET, SLOT, _numbers(900, 2)),
    "likely_products": lambda: CPU.likely_products(LEFT, RIGHT, CPU.largest_of_rows(RIGHT), 2, 0.1),
    "insert_products": lambda: _insert(distinct=True),
    "insert_products, rows twice": lambda: _insert(distinct=False),
    "tally_products": lambda: _tally(turned=False),
    "tally_products, turned": lambda: _tally(turned=True),
    "product_rows": lambda: _rows(turned=False),
    "product_rows, turned": lambda: _rows(turned=True),
    "count_best": lambda: CPU.count_best(LEFT, RIGHT),
    "spread_of_products": _spread,
    "signed_products": lambda: CPU.signed_products(
        SPREADS, -SPREADS, *np.split(_numbers(2 * Z, Y, dtype="float64"), 2)
    ),
}


@pytest.mark.parametrize("name", KERNELS)
def test_ranges_make_up_the_whole(name: str, request: pytest.FixtureRequest) -> None:
    alone = KERNELS[name]()
    request.getfixturevalue("three_threads")
    for one, other in zip(alone, KERNELS[name](), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.usefixtures("three_threads")
def test_every_row_is_one_range_s() -> None:
    for n in (1, 2, 5, 12, 13, 100):
        seen = np.zeros(n, int)

        def count(low: int, high: int, seen: NDArray[Any] = seen) -> None:
            seen[low:high] += 1

        threads.in_ranges(count, n, 100)
        assert seen.tolist() == [1] * n


@pytest.mark.usefixtures("three_threads")
def test_an_error_in_a_range_is_told() -> None:
    def fail(low: int, high: int) -> None:
        raise MemoryError(f"{low} {high}")

    with pytest.raises(MemoryError, match="0 1"):
        threads.in_ranges(fail, 4, 100)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("three_threads")
def test_a_forked_process_has_threads_of_its_own() -> None:
    wanted = KERNELS["count_best"]()[0].sum()
    child = os.fork()
    if child == 0:
        os._exit(0 if KERNELS["count_best"]()[0].sum() == wanted else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.usefixtures("three_threads")
def test_torch_keeps_its_number_of_threads() -> None:
    KERNELS["count_best"]()
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("n_z", "n_y"), [(1, 1), (3, 5), (4, 300), (30, 513)])
def test_count_best(n_z: int, n_y: int) -> None:
    """Against all products at once."""
    left, right = _numbers(n_z, 5, dtype="float64"), _numbers(n_z, n_y, dtype="float64")
    products = left[:, :, None] * right[:, None, :]  # Z x X x Y
    gradient, best = products.sum(axis=0), np.abs(products).argmax(axis=0)
    paths, weight, norms = CPU.count_best(left, right)
    for x in range(5):
        live = np.abs(products[:, x]).max(axis=0) > 0
        assert paths[x].tolist() == np.bincount(best[x][live], minlength=n_z).tolist()
        np.testing.assert_allclose(weight[x], np.bincount(best[x][live], np.abs(gradient[x][live]), n_z), rtol=1e-12)
    size = np.abs(gradient)
    wanted = [size.sum(axis=1), (size**2).sum(axis=1), size.max(axis=1), (size == 0).sum(axis=1)]
    np.testing.assert_allclose(norms, np.stack(wanted, axis=1), rtol=1e-12, atol=1e-15)
