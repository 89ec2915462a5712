"""Ask a graph store: `open_store(path)` gives SQL, traces and importance over what a dump recorded."""

from queries.schema import StoreError
from queries.store import Store, open_store

__all__ = ["Store", "StoreError", "open_store"]
