"""Ask a graph store: `open_store(path)` gives SQL, traces and importance over what a dump recorded."""

from .errors import StoreError
from .store import Store, compare, open_store

__all__ = ["Store", "StoreError", "compare", "open_store"]
