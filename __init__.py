"""gradtrace: through which parts of a network does the gradient travel from the loss to the parameters?

The public names. Each is loaded when it is first used, so that `import gradtrace` costs nothing; what only reads stores
never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exporters.models import Encoded, ModelError, SampleError, Traceable
    from .pipeline.api import dump, export, record
    from .queries.errors import GradtraceError, StoreError
    from .queries.store import Store, compare, open_store

    __version__: str

_HOME = {
    "Encoded": "exporters.models",
    "GradtraceError": "queries.errors",
    "ModelError": "exporters.models",
    "SampleError": "exporters.models",
    "Store": "queries.store",
    "StoreError": "queries.errors",
    "Traceable": "exporters.models",
    "compare": "queries.store",
    "dump": "pipeline.api",
    "export": "pipeline.api",
    "open_store": "queries.store",
    "record": "pipeline.api",
}

__all__ = [
    "Encoded",
    "GradtraceError",
    "ModelError",
    "SampleError",
    "Store",
    "StoreError",
    "Traceable",
    "__version__",
    "compare",
    "dump",
    "export",
    "open_store",
    "record",
]


if not TYPE_CHECKING:  # type checkers know the names above, and tell of others

    def __getattr__(name: str) -> object:
        found = _version() if name == "__version__" else _public(name)
        globals()[name] = found
        return found


def _public(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'gradtrace' has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return found


def _version() -> str:
    """What pyproject.toml says, as the installed package carries it."""
    from importlib.metadata import version

    return version("gradtrace")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
