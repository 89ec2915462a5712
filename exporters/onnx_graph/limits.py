"""What a graph from somewhere else may take of this machine: its memory, no more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

resource: Any = None
with suppress(ImportError):  # Windows has none
    import resource

_STATM = Path("/proc/self/statm")  # its sixth number: pages of data
_CGROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def available_memory() -> int:
    """Bytes that can still be used: of the machine, or of the container that this process runs in."""
    free = [_machine()]
    for limit, used in _CGROUPS:
        try:
            free.append(int(Path("/sys/fs/cgroup", limit).read_text()) - int(Path("/sys/fs/cgroup", used).read_text()))
        except (OSError, ValueError):  # no container, or one without a limit ("max")
            continue
    return max(min(free), 0)


@contextmanager
def memory_limited() -> Iterator[None]:
    """While active, an allocation of more than is available fails, where the system can be told so (Linux).

    Without, it succeeds, and the system ends the process, or another one, when it is written to.
    """
    if resource is None or not _STATM.exists():
        yield
        return
    used = int(_STATM.read_text().split()[5]) * resource.getpagesize()
    with data_limited(used + available_memory()):
        yield


@contextmanager
def data_limited(n_bytes: int) -> Iterator[None]:
    """While active, this process may hold no more than `n_bytes` of data, where the system can be told so."""
    if resource is None:
        yield
        return
    before, most = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [n_bytes, *(limit for limit in (before, most) if limit != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, most))


def _machine() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux: all there is
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
