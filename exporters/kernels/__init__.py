"""Compiled kernels: the only room with numba. They know arrays, nothing of tapes, methods or stores."""
