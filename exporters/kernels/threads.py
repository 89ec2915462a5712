"""Kernels on several cores: each is compiled once, for a range of rows, and threads take ranges of their own.

A kernel that numba itself makes parallel takes three to five times as long to compile, and changes torch's number of
threads behind its back.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import torch

_WORTH = 1 << 19  # elementary operations that a thread is woken up for: some 0.2 ms
_RANGES = 4  # for each thread: rows may differ in the work they take


def in_ranges(kernel: Callable[..., None], n: int, operations: float, *arguments: Any) -> None:
    """Call kernel(low, high, *arguments) for ranges that make up 0 .. n, on as many threads as torch has.

    operations: of all of them together; few are done by this thread alone
    A row must be written by its own range only: then nothing depends on the number of threads.
    """
    threads = min(torch.get_num_threads(), int(operations) // _WORTH)
    if threads < 2:
        kernel(0, n, *arguments)
        return
    ranges = min(n, threads * _RANGES)
    bounds = [n * i // ranges for i in range(ranges + 1)]
    pool = _pool(torch.get_num_threads())
    begun = [pool.submit(kernel, *span, *arguments) for span in pairwise(bounds)]
    for range_done in begun:
        range_done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "gradtrace-kernels")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads
