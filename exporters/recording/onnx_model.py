"""A model that is an .onnx file, ready to record samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnx.checker
import torch
from torch import Tensor

from ...queries.errors import GradtraceError
from ..models import ModelError, SampleError, reason
from ..onnx_graph.limits import memory_limited
from ..onnx_graph.reader import read_graph
from .fingerprint import model_fingerprint
from .recorder import NO_TOKENS, Recorder, Recording


class OnnxModel:
    """An .onnx file with one floating-point scalar output. Its floating-point initializers are the parameters."""

    def __init__(self, path: Path, dtype: torch.dtype) -> None:
        self.name = path.stem
        self._dtype = dtype
        self.aliases: dict[str, list[str]] = {}
        with memory_limited(), _as_model_error(path):
            if path.stat().st_size == 0:
                raise ModelError(f"{path} is empty")
            onnx.checker.check_model(str(path))
            self._model = onnx.load(path)
            self._recorder = Recorder(read_graph(self._model, dtype), dtype)

    @property
    def model(self) -> onnx.ModelProto:
        """See TracedModel."""
        return self._model

    def record(
        self,
        inputs: Mapping[str, Tensor],
        n_tokens: int = 0,
        first_token: Mapping[str, int] = NO_TOKENS,
        *,
        parameter_gradients: bool = True,
    ) -> Recording:
        """See TracedModel."""
        # whole numbers in a .jsonl file may stand for floats
        wanted = {spec.name for spec in self._recorder.graph.inputs if spec.dtype.is_floating_point}
        inputs = {name: x.to(self._dtype) if name in wanted else x for name, x in inputs.items()}
        with memory_limited(), _as_sample_error():
            return self._recorder.record(inputs, n_tokens, first_token, parameter_gradients=parameter_gradients)

    def load(self, weights: Mapping[str, Tensor], source: str) -> None:
        """See TracedModel."""
        raise ModelError(
            f"{self.name} is an .onnx file and has its own weights; the {len(weights)} tensors of {source} cannot be "
            "loaded into it"
        )

    def fingerprint(self) -> str:
        """See TracedModel."""
        return model_fingerprint(self.model, self._recorder.graph.parameters)


@contextmanager
def _as_model_error(path: Path) -> Iterator[None]:
    """A file may be anything, and onnx, protobuf and numpy have many kinds of errors for what is no model."""
    try:
        yield
    except GradtraceError:
        raise
    except Exception as error:
        raise ModelError(f"{path} cannot be read as ONNX: {reason(error)}") from error


@contextmanager
def _as_sample_error() -> Iterator[None]:
    """What torch says of a graph whose backward pass fails, for want of memory above all."""
    try:
        yield
    except GradtraceError:
        raise
    except Exception as error:
        raise SampleError(f"the model cannot be recorded on this sample: {reason(error)}") from error
