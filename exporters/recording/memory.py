"""What this process takes of the memory, and what the C library keeps for itself of that which was freed."""

from __future__ import annotations

import ctypes
import sys

from ..onnx_graph.limits import resource

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h
_LARGE = 4 << 20


def return_freed_memory() -> None:
    """Have large blocks returned to the system when they are freed, where the C library can be told to (glibc).

    By itself it comes to keep blocks of up to 32 MB: of GPT-2 small, the exporter and a recording leave 1.4 GB of them.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is not None:
        tell(_MMAP_THRESHOLD, _LARGE)


def peak_memory() -> int:
    """The most bytes that this process has had in memory; 1 where the system does not say (Windows)."""
    if resource is None:
        return 1
    most = int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return most if sys.platform == "darwin" else most << 10
