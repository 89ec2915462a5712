"""Each export is made once in a run of the tests, whichever worker asks first: it costs a second, the rest little.

An export is known by everything it is made of: every tensor of the model and which are shared, what its modules hold,
the files that their classes and functions stand in, the inputs' shapes and types. A model with anything in it that has
no such name is exported as always, and so is every model in the tests of the export itself.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import marshal
import os
import pickle
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from gradtrace.exporters.recording import traced_model
from gradtrace.exporters.torch_export.export import Exported, export

FOLDER = "GRADTRACE_TEST_EXPORTS"  # the folder shared by all workers, for scripts that the tests run too


def digest(*parts: object) -> str:
    """Of bytes as they are, and of anything else as it is written."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else repr(part).encode())
    return found.hexdigest()


@cache
def _file(path: str, _changed: int) -> str:
    return digest(Path(path).read_bytes())


def _source(thing: Any) -> str:
    """The file that a class or function stands in, as a hash; built-in ones have none."""
    try:
        path = inspect.getfile(thing)
    except TypeError:
        return ""
    return _file(path, Path(path).stat().st_mtime_ns)


def _is_named(thing: Any) -> bool:
    """Whether it is the class or function that its module has under its name: none within a function, no lambda."""
    if not isinstance(thing, type | FunctionType):
        return False
    found: Any = sys.modules.get(thing.__module__)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


class _Described(pickle.Pickler):
    """A model written out in such a way that equal ones read alike; PicklingError where that cannot be done."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self._tensors: dict[int, int] = {}

    def persistent_id(self, thing: Any) -> object:
        if isinstance(thing, Tensor):
            number = self._tensors.setdefault(id(thing), len(self._tensors))
            numbers = thing.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
            facts = type(thing).__name__, thing.dtype, tuple(thing.shape), thing.stride(), thing.requires_grad
            return digest(number, facts, numbers)
        if _is_named(thing):
            return digest(thing.__module__, thing.__qualname__, _source(thing))
        if isinstance(thing, type):
            raise pickle.PicklingError(f"{thing} is made anew by every call")
        return None

    def reducer_override(self, thing: Any) -> Any:
        """A function without a name of its own: its code and what it closes over."""
        if not isinstance(thing, FunctionType):
            return NotImplemented
        cells = tuple(cell.cell_contents for cell in thing.__closure__ or ())
        known = thing.__qualname__, _source(thing), marshal.dumps(thing.__code__, 2), thing.__defaults__
        return digest, (*known, thing.__kwdefaults__, cells)


def name_of(model: nn.Module, inputs: Mapping[str, Tensor], dynamic: bool) -> str | None:
    """The same for the same export; None for a model that has no such name."""
    written = io.BytesIO()
    try:
        _Described(written).dump(model)
    except (pickle.PicklingError, TypeError, AttributeError, OSError, RuntimeError):
        return None
    shapes = [(name, tuple(x.shape), x.stride(), x.dtype, x.requires_grad) for name, x in inputs.items()]
    return digest(written.getvalue(), shapes, dynamic, torch.get_default_dtype(), torch.is_grad_enabled())


def _exported_once(model: nn.Module, inputs: Mapping[str, Tensor], *, dynamic: bool = True) -> Exported:
    name = name_of(model, inputs, dynamic)
    if name is None:
        return export(model, inputs, dynamic=dynamic)
    path = Path(os.environ[FOLDER]) / name
    if not path.exists():
        made = export(model, inputs, dynamic=dynamic)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(pickle.dumps((made.model.SerializeToString(), made.parameters, made.aliases)))
        unfinished.rename(path)
        return made
    written, parameters, aliases = pickle.loads(path.read_bytes())
    return Exported(onnx.ModelProto.FromString(written), parameters, aliases)


@contextmanager
def exported_once() -> Iterator[None]:
    """While active, a model is exported only if no worker has exported it."""
    before, traced_model.export = traced_model.export, _exported_once
    try:
        yield
    finally:
        traced_model.export = before
