"""The models that gradtrace brings along: one file per family, and the file's name is the family's name.

A family file defines `FAMILY`. Files whose names start with an underscore hold what families share.
Listing the names imports no torch.
"""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from exporters.models import Encoded, ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pipeline.vocabulary import Vocabulary

H = TypeVar("H")


@dataclass(frozen=True)
class Task:
    """How lines of text become inputs, one by one for a dump and together for training.

    encode:  one line -> its inputs, with batch axis 1; raises SampleError for a line that is no sample
    collate: encoded lines -> the inputs of one padded batch
    scored:  inputs of a batch -> the number of predictions that the model's loss is the mean of
    """

    encode: Callable[[str, Vocabulary], Encoded]
    collate: Callable[[Sequence[Encoded]], dict[str, Tensor]]
    scored: Callable[[Mapping[str, Tensor]], int]


@dataclass(frozen=True)
class Family(Generic[H]):
    """A family of models.

    hyperparameters: a frozen dataclass of numbers, strings and truth values with defaults, stored as JSON in the run
    build:           (vocabulary size, hyperparameters) -> a freshly initialised model, `model(**inputs)` a scalar loss
    """

    hyperparameters: type[H]
    build: Callable[[int, H], nn.Module]
    task: Task


def family_names() -> list[str]:
    """The names of all families, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def family(name: str) -> Family[Any]:
    """The family called `name`. Raises ModelError, with the nearest names, when there is none."""
    names = family_names()
    if name not in names:
        raise ModelError(f"the zoo has no model {name!r}.{_nearest(name, names)} It has {', '.join(names)}.")
    found: Family[Any] = import_module(f"{__name__}.{name}").FAMILY
    return found


def make_hyperparameters(name: str, values: Mapping[str, Any]) -> Any:
    """The hyperparameters of family `name`: `values`, and the defaults for all others.

    Raises ModelError for a name the family does not have, a value of another type, or one the family refuses.
    """
    kind = family(name).hyperparameters
    types = get_type_hints(kind)
    for key, value in values.items():
        if key not in types:
            known = [field.name for field in fields(kind)]
            raise ModelError(f"{name} has no hyperparameter {key!r}.{_nearest(key, known)} It has {', '.join(known)}.")
        fits = type(value) is types[key] or (types[key] is float and type(value) is int)
        if not fits:
            raise ModelError(f"{key} of {name} is {value!r}; it must be of type {types[key].__name__}.")
    try:
        return kind(**values)
    except ValueError as error:
        raise ModelError(f"{name} cannot be built: {error}") from error


def hyperparameter_values(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """All hyperparameters of family `name` as JSON values, defaults filled in. Raises as `make_hyperparameters`."""
    return asdict(make_hyperparameters(name, values))
