"""What a researcher hands over: a model with a scalar output, and an encoder from one line of text to its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


class ModelError(Exception):
    """A model cannot be used as given. The message says what was got, what was wanted, and what to do."""


class SampleError(Exception):
    """One sample cannot be used (an empty line, an index out of range). Other samples are not affected."""


@dataclass(frozen=True)
class Encoded:
    """One sample as the model takes it.

    inputs: argument name of `forward` -> tensor whose batch axis has size 1
    tokens: the words that positions along the time axis stand for, to label steps with; may be empty
    """

    inputs: Mapping[str, Tensor]
    tokens: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Traceable:
    """A model to trace: `model(**encode(text).inputs)` is one scalar (a loss, or any objective).

    `encode` raises SampleError for a line that is no sample.
    """

    model: nn.Module
    encode: Callable[[str], Encoded]
    name: str = "model"
