"""Kernels on several cores: each is compiled once, for a range of rows, and threads take ranges of their own.

A kernel that numba itself makes parallel takes three to five times as long to compile, and changes torch's number of
threads behind its back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import Any

import torch

_WORTH = 1 << 19  # elementary operations that a thread is woken up for: some 0.2 ms
_RANGES = 4  # for each thread: rows may differ in the work they take
_of_kernels: list[int] = []  # their number where torch has another one


@contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """While active, torch computes on one thread, and kernels on as many as torch had.

    The number of torch's threads decides the last bits of its sums, and of functions such as tanh; that of kernels
    nothing.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    _of_kernels.append(_of_kernels[-1] if _of_kernels else threads)
    try:
        yield
    finally:
        _of_kernels.pop()
        torch.set_num_threads(threads)


def kernel_threads() -> int:
    """On how many threads kernels may run."""
    return _of_kernels[-1] if _of_kernels else torch.get_num_threads()


def in_ranges(kernel: Callable[..., None], n: int, operations: float, *arguments: Any) -> None:
    """Call kernel(low, high, *arguments) for ranges that make up 0 .. n, on `kernel_threads` threads.

    operations: of all of them together; few are done by this thread alone
    A row must be written by its own range only: then nothing depends on the number of threads.
    """
    threads = min(kernel_threads(), int(operations) // _WORTH)
    if threads < 2:
        kernel(0, n, *arguments)
        return
    ranges = min(n, threads * _RANGES)
    bounds = [n * i // ranges for i in range(ranges + 1)]
    pool = _pool(kernel_threads())
    begun = [pool.submit(kernel, *span, *arguments) for span in pairwise(bounds)]
    for range_done in begun:
        range_done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "gradtrace-kernels")


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads
