"""What MODEL and --samples mean on the command line: a training run, file.py:factory or an .onnx file; lines to
encode.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exporters.models import Encoded, ModelError, SampleError, Traceable
from exporters.traced_model import OnnxModel, TorchModel, TracedModel
from pipeline.runs import is_run, load_run

DTYPES = {"float32": torch.float32, "float64": torch.float64}
_RESERVED = ("text", "tokens")


@dataclass(frozen=True)
class Sample:
    """One sample: its text if it has one, and how to make its inputs (which may raise SampleError)."""

    text: str | None
    encode: Callable[[], Encoded]


@dataclass(frozen=True)
class Samples:
    """The samples of a file, in its order; `fingerprint` changes when any of them does."""

    source: str
    fingerprint: str
    samples: list[Sample]


@dataclass(frozen=True)
class OpenedModel:
    """A model to record with, and its encoder from text (None for an .onnx file)."""

    traced: TracedModel
    encode: Callable[[str], Encoded] | None


def open_model(model: str, dtype: str, checkpoint: str | None = None) -> OpenedModel:
    """Open MODEL: a training run's folder, `file.py:factory`, or an .onnx file. ModelError when it is none of them."""
    torch_dtype = DTYPES[dtype]
    path = Path(model)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise ModelError(f"{path} does not exist")
        return OpenedModel(OnnxModel(path, torch_dtype), None)
    traceable = open_traceable(model, checkpoint)
    return OpenedModel(TorchModel(traceable.model, torch_dtype, traceable.name), traceable.encode)


def open_traceable(model: str, checkpoint: str | None = None) -> Traceable:
    """A torch model: a training run's folder, or `file.py:factory`."""
    if is_run(Path(model)):
        return load_run(Path(model), checkpoint)
    file, separator, factory = model.rpartition(":")
    if separator and file.endswith(".py"):
        return _from_file(Path(file), factory, checkpoint)
    raise ModelError(
        f"MODEL {model!r} is not a training run's folder, file.py:factory, or an .onnx file. "
        "Make a run with `gradtrace train lstm_lm --out RUN`, or see 'Your own model' in the README."
    )


def _from_file(path: Path, factory: str, checkpoint: str | None) -> Traceable:
    if not path.is_file():
        raise ModelError(f"{path} does not exist")
    # a private name, and the folder last on the path: a user's pipeline.py must not shadow ours
    name = f"_gradtrace_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec.loader.exec_module(module)
    build = getattr(module, factory, None)
    if not callable(build):
        names = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == name]
        raise ModelError(f"{path} has no function {factory!r}; it has {', '.join(names) or 'none'}")
    if checkpoint is None:
        traceable = build()
    elif inspect.signature(build).parameters:
        traceable = build(Path(checkpoint))
    else:
        raise ModelError(f"--checkpoint was given, but {path}:{factory} takes no argument for it")
    if not isinstance(traceable, Traceable):
        raise ModelError(
            f"{path}:{factory} returned {type(traceable).__name__}; an exporters.Traceable(model, encode) is wanted"
        )
    return traceable


def read_samples(path: Path, encode: Callable[[str], Encoded] | None, limit: int | None = None) -> Samples:
    """Read a .txt, .jsonl or .npz file of samples.

    .txt: one sample per line, for the model's encoder (source TAB target for pairs)
    .jsonl: one object per line, input name -> nested list with a batch axis of size 1; `text` and `tokens` optional
    .npz: input name -> array whose first axis runs over the samples
    Raises SampleError when the file cannot be read; a line that is no sample raises it only when it is encoded.
    """
    if not path.is_file():
        raise SampleError(f"samples file {path} does not exist")
    if path.suffix == ".npz":
        samples = list(_from_arrays(path))
    elif path.suffix == ".jsonl":
        samples = [_from_object(path, i, line) for i, line in enumerate(_lines(path), start=1)]
    elif encode is None:
        raise SampleError(f"{path}: an .onnx model has no encoder for text; give its inputs as .jsonl or .npz")
    else:
        samples = [_from_line(path, i, line, encode) for i, line in enumerate(_lines(path), start=1)]
    if not samples:
        raise SampleError(f"samples file {path} is empty")
    chosen = samples[:limit] if limit is not None else samples
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    return Samples(path.name, f"{digest}-{len(chosen)}", chosen)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SampleError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error


def _from_line(path: Path, number: int, line: str, encode: Callable[[str], Encoded]) -> Sample:
    def make() -> Encoded:
        if not line.strip():
            raise SampleError(f"{path.name}:{number} is empty; every line is one sample")
        return encode(line)

    return Sample(line, make)


def _from_object(path: Path, number: int, line: str) -> Sample:
    def make() -> Encoded:
        try:
            values = json.loads(line)
            tensors = {name: _tensor(value) for name, value in values.items() if name not in _RESERVED}
        except (ValueError, AttributeError, TypeError) as error:
            raise SampleError(f"{path.name}:{number} is not an object of nested lists of numbers ({error})") from error
        return Encoded(tensors, [str(token) for token in values.get("tokens", [])])

    return Sample(_text(line), make)


def _text(line: str) -> str | None:
    try:
        text = json.loads(line).get("text")
    except (ValueError, AttributeError):
        return None
    return text if isinstance(text, str) else None


def _tensor(value: Any) -> Tensor:
    array = np.array(value)
    if array.dtype.kind not in "iufb":
        raise TypeError(f"{array.dtype} is not a number")
    tensor = torch.from_numpy(array)
    return tensor if tensor.is_floating_point() or tensor.dtype == torch.bool else tensor.to(torch.int64)


def _from_arrays(path: Path) -> Iterator[Sample]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise SampleError(f"{path} cannot be read as .npz: {error}") from error
    counts = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1:
        raise SampleError(f"{path}: the arrays' first axes run over the samples and must agree, got {sorted(counts)}")
    for i in range(counts.pop()):
        tensors = {name: _tensor(array[i : i + 1]) for name, array in arrays.items()}
        yield Sample(None, lambda tensors=tensors: Encoded(tensors))  # type: ignore[misc]
