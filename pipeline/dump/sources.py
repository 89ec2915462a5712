"""What MODEL and --samples mean on the command line: which model to open, which lines to encode for it."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import sys
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...exporters.models import Encoded, ModelError, SampleError, Traceable
from ...exporters.recording.traced_model import OnnxModel, TorchModel, TracedModel
from ...queries.errors import first_line
from ..training.runs import is_run, load_run
from ..zoo import LOSS
from .hugging_face import PREFIX, open_hugging_face

DTYPES = {"float32": torch.float32, "float64": torch.float64}
_RESERVED = ("text", "tokens", "first_token", "labels")


@dataclass(frozen=True)
class Sample:
    """One sample: its text if it has one, how to make its inputs (which may raise SampleError), and its labels."""

    text: str | None
    encode: Callable[[], Encoded]
    labels: Mapping[str, str] = field(default_factory=dict)


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


def open_model(model: str, dtype: str, checkpoint: str | None = None, objective: str = LOSS) -> OpenedModel:
    """Open MODEL: a training run's folder, `file.py:factory`, `hf:FOLDER`, or an .onnx file; ModelError for others.

    objective: what a training run's model is traced for (see `pipeline.zoo`)
    """
    torch_dtype = DTYPES[dtype]
    path = Path(model)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise ModelError(f"{path} does not exist")
        return OpenedModel(OnnxModel(path, torch_dtype), None)
    traceable = open_traceable(model, checkpoint, objective)
    return OpenedModel(TorchModel(traceable.model, torch_dtype, traceable.name), traceable.encode)


def open_traceable(model: str, checkpoint: str | None = None, objective: str = LOSS) -> Traceable:
    """A torch model: a training run's folder, `hf:` and a folder of transformers, or `file.py:factory`."""
    if is_run(Path(model)):
        return load_run(Path(model), checkpoint, objective)
    if objective != LOSS:
        raise ModelError(
            f"--objective {objective} is for training runs; a model of your own returns the scalar it wants traced"
        )
    if model.startswith(PREFIX):
        return open_hugging_face(Path(model.removeprefix(PREFIX)))
    file, separator, factory = model.rpartition(":")
    if separator and file.endswith(".py"):
        return _from_file(Path(file), factory, checkpoint)
    raise ModelError(
        f"MODEL {model!r} is not a training run's folder, file.py:factory, hf:FOLDER, or an .onnx file. "
        "Make a run with `gradtrace train lstm_lm --out RUN`, or see 'Your own model' in the README."
    )


def _from_file(path: Path, factory: str, checkpoint: str | None) -> Traceable:
    if not path.is_file():
        raise ModelError(f"{path} does not exist")
    # A private name, and the folder first on the path, as for a script: the modules beside it are the ones it means.
    name = f"_gradtrace_user_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if sys.path[0] != folder:
        sys.path.insert(0, folder)
    with _user_code(f"{path} cannot be imported", ModelError):
        spec.loader.exec_module(module)
    build = getattr(module, factory, None)
    if not callable(build):
        names = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == name]
        raise ModelError(f"{path} has no function {factory!r}; it has {', '.join(names) or 'none'}")
    if checkpoint is not None and not inspect.signature(build).parameters:
        raise ModelError(f"--checkpoint was given, but {path}:{factory} takes no argument for it")
    with _user_code(f"{path}:{factory} failed", ModelError):
        traceable = build() if checkpoint is None else build(Path(checkpoint))
    if not isinstance(traceable, Traceable):
        raise ModelError(
            f"{path}:{factory} returned {type(traceable).__name__}; an exporters.Traceable(model, encode) is wanted"
        )
    return traceable


@contextmanager
def _user_code(what: str, wrong: type[ModelError] | type[SampleError]) -> Iterator[None]:
    """Turn whatever a user's code raises into one line that says where."""
    try:
        yield
    except (ModelError, SampleError):
        raise
    except Exception as error:
        *_, last = traceback.extract_tb(error.__traceback__)
        kind, reason = type(error).__name__, first_line(error)
        said = kind if reason == kind else f"{kind}: {reason}"
        raise wrong(f"{what}: {said} ({Path(last.filename).name}, line {last.lineno})") from error


def read_samples(
    path: Path, encode: Callable[[str], Encoded] | None, limit: int | None = None, shuffle: int | None = None
) -> Samples:
    """Read a .txt, .jsonl or .npz file of samples.

    .txt: one sample per line, for the model's encoder (source TAB target for pairs)
    .jsonl: one object per line, input name -> nested list with a batch axis of size 1; `text`, `tokens` and
        `first_token` (see Encoded) optional; or `text` alone, for the model's encoder. Either may have `labels`,
        name -> text, number or boolean
    .npz: input name -> array whose first axis runs over the samples
    shuffle: a seed; the samples are put in a random order, of which `limit` takes the first
    Raises SampleError when the file cannot be read; a line that is no sample raises it only when it is encoded.
    """
    if not path.is_file():
        raise SampleError(f"samples file {path} does not exist")
    if path.suffix == ".npz":
        samples = list(_from_arrays(path))
    elif path.suffix == ".jsonl":
        samples = [_from_object(path, i, line, encode) for i, line in enumerate(_lines(path), start=1)]
    elif encode is None:
        raise SampleError(f"{path}: an .onnx model has no encoder for text; give its inputs as .jsonl or .npz")
    else:
        samples = [_from_line(path, i, line, encode) for i, line in enumerate(_lines(path), start=1)]
    if not samples:
        raise SampleError(f"samples file {path} is empty")
    order = range(len(samples)) if shuffle is None else _shuffled(len(samples), shuffle)
    chosen = [samples[i] for i in order[:limit]]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    seeded = "" if shuffle is None else f"-shuffled-{shuffle}"
    return Samples(path.name, f"{digest}-{len(chosen)}{seeded}", chosen)


def _shuffled(n: int, seed: int) -> Sequence[int]:
    """The numbers below n in an order that depends on the seed alone, on every machine and version."""
    return sorted(range(n), key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())


def _lines(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig") as file:  # lines end at line feeds only, as editors count them
            return [line.removesuffix("\n") for line in file]
    except UnicodeDecodeError as error:
        raise SampleError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from error


def _from_line(path: Path, number: int, line: str, encode: Callable[[str], Encoded]) -> Sample:
    def make() -> Encoded:
        if not line.strip():
            raise SampleError(f"{path.name}:{number} is empty; every line is one sample")
        return _encode_text(f"{path.name}:{number}", line, encode)

    return Sample(line, make)


def _encode_text(where: str, text: str, encode: Callable[[str], Encoded]) -> Encoded:
    with _user_code(f"{where}: the encoder failed", SampleError):
        encoded = encode(text)
    if not isinstance(encoded, Encoded) or not all(isinstance(x, Tensor) for x in encoded.inputs.values()):
        raise SampleError("the encoder returned something else than exporters.Encoded(inputs: dict of tensors)")
    return encoded


def _from_object(path: Path, number: int, line: str, encode: Callable[[str], Encoded] | None) -> Sample:
    def make() -> Encoded:
        try:
            values = json.loads(line)
            tensors = {name: _tensor(value) for name, value in values.items() if name not in _RESERVED}
        except (ValueError, AttributeError, TypeError) as error:
            raise SampleError(f"{path.name}:{number} is not an object of nested lists of numbers ({error})") from error
        _labels(f"{path.name}:{number}", values)
        if not tensors and "text" in values:
            return _encode_object(f"{path.name}:{number}", values, encode)
        tokens = values.get("tokens", [])
        if not isinstance(tokens, list):
            raise SampleError(f"{path.name}:{number}: 'tokens' is {json.dumps(tokens)}, a list of words is wanted")
        first_token = values.get("first_token", {})
        if not isinstance(first_token, dict):
            raise SampleError(
                f"{path.name}:{number}: 'first_token' is {json.dumps(first_token)}; input names with places in "
                "'tokens' are wanted, as in "
                '{"source_ids": 0, "input_ids": 7}'
            )
        return Encoded(tensors, [str(token) for token in tokens], first_token)

    return Sample(_text(line), make, _labels_if_any(line))


def _encode_object(where: str, values: dict[str, Any], encode: Callable[[str], Encoded] | None) -> Encoded:
    """The inputs of a line that gives a text in place of them."""
    others = [name for name in values if name not in ("text", "labels")]
    if others:
        raise SampleError(f"{where}: {others[0]!r} is for lines that give inputs; of a text alone the encoder makes it")
    if encode is None:
        raise SampleError(f"{where}: an .onnx model has no encoder for text; give its inputs by name")
    if not isinstance(values["text"], str) or not values["text"].strip():
        raise SampleError(f"{where}: 'text' is {json.dumps(values['text'])}, a text is wanted")
    return _encode_text(where, values["text"], encode)


def _labels(where: str, values: Mapping[str, Any]) -> dict[str, str]:
    """The labels of a line as texts; a label that is null is none. SampleError for labels of another form."""
    given = values.get("labels", {})
    if not isinstance(given, dict) or not all(isinstance(x, str | int | float | None) for x in given.values()):
        raise SampleError(
            f"{where}: 'labels' is {json.dumps(given)}; names with texts, numbers or booleans are wanted, "
            'as in {"condition": "plural"}'
        )
    return {name: x if isinstance(x, str) else json.dumps(x) for name, x in given.items() if x is not None}


def _labels_if_any(line: str) -> dict[str, str]:
    try:
        return _labels("", json.loads(line))
    except (ValueError, AttributeError, SampleError):
        return {}  # encoding the line says what is wrong with it


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
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: _tensor(file[name]) for name in file.files}
    except (ValueError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise SampleError(f"{path} cannot be read as .npz: {error}") from error
    counts = {len(array) if array.dim() else 0 for array in arrays.values()}
    if len(counts) != 1:
        raise SampleError(f"{path}: the arrays' first axes run over the samples and must agree, got {sorted(counts)}")
    for i in range(counts.pop()):
        tensors = {name: array[i : i + 1] for name, array in arrays.items()}
        yield Sample(None, lambda tensors=tensors: Encoded(tensors))  # type: ignore[misc]
