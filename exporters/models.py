"""What a researcher hands over: a model with a scalar output, and an encoder from one line of text to its inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..queries.errors import GradtraceError, first_line

if TYPE_CHECKING:
    from torch import Tensor, nn


class ModelError(GradtraceError):
    """A model cannot be used as given. The message says what was got, what was wanted, and what to do."""


class ExportDifferenceError(ModelError):
    """The exported model computes something else than torch.

    difference: the number that differs, in one sentence     where: the first operator that does, as a clause
    """

    def __init__(self, difference: str, where: str = "") -> None:
        self.difference = difference
        super().__init__(
            f"the exported model is not the model that was given: {difference}"
            + (f"; {where}. " if where else ". ")
            + "Write that part of forward in other operations, or leave it out of the loss."
        )


class SampleError(GradtraceError):
    """One sample cannot be used (an empty line, an index out of range). Other samples are not affected."""


def reason(error: Exception) -> str:
    """What an error says, in one line; of one for want of memory, in plain words."""
    said = first_line(error)
    if isinstance(error, MemoryError) or "can't allocate memory" in said:
        wanted = re.search(r"allocate (\d+) bytes", said)
        return "it takes more memory than there is" + (f": {int(wanted[1]):,} bytes" if wanted else "")
    return said


@dataclass(frozen=True)
class Encoded:
    """One sample as the model takes it.

    inputs: argument name of `forward` -> tensor whose batch axis has size 1
    tokens: the words that positions along the time axis stand for, to label steps with; may be empty
    first_token: for a model that reads several texts, input name -> the place in `tokens` where its text begins, such
        as {"source_ids": 0, "input_ids": 7} where 7 source words stand before those of the decoder; others begin at 0
    Raises SampleError for a token that is no text, and for a first token of an input that there is not, or that lies
    outside `tokens`.
    """

    inputs: Mapping[str, Tensor]
    tokens: list[str] = field(default_factory=list)
    first_token: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for token in self.tokens:
            _check_token(token)
        for name, first in self.first_token.items():
            if name not in self.inputs:
                raise SampleError(
                    f"first_token names the input {name!r}, which the sample has not; it has {', '.join(self.inputs)}"
                )
            if type(first) is not int or not 0 <= first <= len(self.tokens):
                raise SampleError(
                    f"first_token of {name!r} is {first!r}; a whole number from 0 to {len(self.tokens)}, the number of "
                    "tokens, is wanted"
                )


def _check_token(token: object) -> None:
    """Raise SampleError for what no table of texts can hold, such as half of a character."""
    try:
        if not isinstance(token, str):
            raise SampleError(f"token {token!r} is of type {type(token).__name__}; a word is wanted")
        token.encode()
    except UnicodeEncodeError as error:
        raise SampleError(f"token {token!r} holds half of a character; a word is wanted") from error


@dataclass(frozen=True)
class Traceable:
    """A model to trace: `model(**encode(text).inputs)` is one scalar (a loss, or any objective).

    `encode` raises SampleError for a line that is no sample.
    """

    model: nn.Module
    encode: Callable[[str], Encoded]
    name: str = "model"
