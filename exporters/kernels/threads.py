"""Compiled kernels that run in parallel, beside torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def torch_threads_kept() -> Iterator[None]:
    """Parallel kernels change torch's number of threads, and with it the last bit of its sums: to be put around them.

    Also works as a decorator.
    """
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
