"""Compiled kernels: the only room here with numba. They know arrays, nothing of tapes, methods or stores."""
