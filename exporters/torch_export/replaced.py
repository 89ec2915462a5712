"""Parts of torch, or of a model, replaced for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_INHERITED: Any = object()


@contextmanager
def replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """While active, a module of Python, a class or an object has these attributes; then its own again, or none."""
    own = {name: vars(owner).get(name, _INHERITED) for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in own.items():
            if value is _INHERITED:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
