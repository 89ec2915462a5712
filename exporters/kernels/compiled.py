"""How kernels are compiled: once for each layout of their arguments, kept on disk, without the GIL.

The arrays that a kernel writes to are given to it. So it needs no memory of its own, and none of numba's counting of
references to arrays, which costs an atomic operation at every look into a table and half a second of compiling.
"""

from __future__ import annotations

from functools import partial

from numba import njit
from numba.core.options import DefaultOptions

_KNOWN = hasattr(DefaultOptions, "_nrt")  # an option of numba's own code
_UNCOUNTED, _COUNTED = ({"_nrt": False}, {"_nrt": True}) if _KNOWN else ({}, {})

kernel = partial(njit, cache=True, nogil=True, error_model="numpy", **_UNCOUNTED)
inlined = partial(njit, cache=True, nogil=True, error_model="numpy", forceinline=True, **_UNCOUNTED)  # into kernels
allocating = partial(njit, cache=True, nogil=True, error_model="numpy", **_COUNTED)  # what a kernel rarely calls
