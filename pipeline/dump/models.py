"""What MODEL means: a training run, a factory in a file, a folder of transformers, an .onnx file, or a live module."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ...exporters.models import Encoded, ModelError, SampleError, Traceable
from ...exporters.recording.onnx_model import OnnxModel
from ...exporters.recording.traced_model import SOME, Check, TorchModel, TracedModel
from ...queries.errors import first_line
from ..training.runs import is_run, load_run
from ..zoo import LOSS
from .hugging_face.folder import PREFIX
from .hugging_face.opening import open_hugging_face

_FOLDERS: set[Path] = set()  # of the model files opened in this process

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class OpenedModel:
    """A model to record with, and its encoder from text (None for an .onnx file)."""

    traced: TracedModel
    encode: Callable[[str], Encoded] | None


def open_live(
    model: nn.Module | Traceable, dtype: str, encode: Callable[[str], Encoded] | None, check: Check = SOME
) -> OpenedModel:
    """A model in memory, of which a copy is traced in eval mode. encode: for a module; a Traceable has its own."""
    if isinstance(model, Traceable):
        if encode is not None:
            raise ModelError("encode was given beside a Traceable, which has an encoder. Give one of them.")
        return OpenedModel(TorchModel(_checked(model.model), DTYPES[dtype], model.name, check), model.encode)
    return OpenedModel(TorchModel(_checked(model), DTYPES[dtype], type(model).__name__, check), encode)


def _checked(module: object) -> nn.Module:
    """Refuse what is no module, or not ready to run."""
    if not isinstance(module, nn.Module):
        what = f"the class {module.__name__}" if isinstance(module, type) else f"of type {type(module).__name__}"
        raise ModelError(f"the model is {what}; a torch module (an instance) or a gradtrace.Traceable is wanted")
    lazy = [name for name, x in module.named_parameters() if nn.parameter.is_lazy(x)]
    if lazy:
        raise ModelError(f"{lazy[0]} has no size yet: run the model once, so that its lazy modules know their sizes")
    return module


def open_model(
    model: str, dtype: str, checkpoint: str | None = None, objective: str = LOSS, check: Check = SOME
) -> OpenedModel:
    """Open MODEL: a training run's folder, `file.py:factory`, `hf:FOLDER`, or an .onnx file; ModelError for others.

    objective: what a training run's model is traced for (see `pipeline.zoo`)     check: see `TorchModel`
    """
    torch_dtype = DTYPES[dtype]
    path = Path(model)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise ModelError(f"{path} does not exist")
        return OpenedModel(OnnxModel(path, torch_dtype), None)
    traceable = open_traceable(model, checkpoint, objective)
    return OpenedModel(TorchModel(traceable.model, torch_dtype, traceable.name, check), traceable.encode)


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
    _put_first(path.resolve().parent)
    with user_code(f"{path} cannot be imported", ModelError):
        spec.loader.exec_module(module)
    build = getattr(module, factory, None)
    if not callable(build):
        names = [n for n, v in vars(module).items() if inspect.isfunction(v) and v.__module__ == name]
        raise ModelError(f"{path} has no function {factory!r}; it has {', '.join(names) or 'none'}")
    if checkpoint is not None and not inspect.signature(build).parameters:
        raise ModelError(f"--checkpoint was given, but {path}:{factory} takes no argument for it")
    with user_code(f"{path}:{factory} failed", ModelError):
        traceable = build() if checkpoint is None else build(Path(checkpoint))
    if not isinstance(traceable, Traceable):
        raise ModelError(
            f"{path}:{factory} returned {type(traceable).__name__}; a gradtrace.Traceable(model, encode) is wanted"
        )
    return traceable


def _put_first(folder: Path) -> None:
    """Let the modules of a model's folder be the ones that are found; those of other models give way to them."""
    for name, module in list(sys.modules.items()):
        top, file = name.partition(".")[0], getattr(module, "__file__", None)
        is_here = (folder / f"{top}.py").is_file() or (folder / top).is_dir()
        if is_here and file is not None and any(Path(file).is_relative_to(other) for other in _FOLDERS - {folder}):
            del sys.modules[name]
    _FOLDERS.add(folder)
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    sys.path.insert(0, str(folder))


@contextmanager
def user_code(what: str, wrong: type[ModelError] | type[SampleError]) -> Iterator[None]:
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
