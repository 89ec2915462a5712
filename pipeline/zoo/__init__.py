"""The models that gradtrace brings along: one file per family, and the file's name is the family's name.

A family file defines `FAMILY`. Files whose names start with an underscore hold what families share.
Listing the names imports no torch.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar, get_type_hints

from ...exporters.models import Encoded, ModelError
from ...queries.errors import nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ..corpora.corpora import Layout

H = TypeVar("H")

LOSS = "loss"  # the objective that a model is trained for


@dataclass(frozen=True)
class Task:
    """What models are trained for, and how lines of text become inputs: one by one for a dump, together for training.

    corpus:     the corpus to train on when none is given
    encode:     (line, a vocabulary for each part of the layout) -> its inputs, with batch axis 1; raises SampleError
                for a line that is no sample
    collate:    encoded lines -> the inputs of one padded batch; the numbers to predict are `targets`
    scored:     inputs of a batch -> the number of predictions that the model's loss is the mean of
    predicted:  the part of the layout whose vocabulary targets are from
    objectives: other scalars that the models compute, by name, each with the encoder of its lines
    """

    name: str
    layout: Layout
    corpus: str
    encode: Callable[..., Encoded]
    collate: Callable[[Sequence[Encoded]], dict[str, Tensor]]
    scored: Callable[[Mapping[str, Tensor]], int]
    predicted: int
    objectives: Mapping[str, Callable[..., Encoded]] = field(default_factory=dict)

    def encoder(self, objective: str = LOSS) -> Callable[..., Encoded]:
        """`encode`, or that of another objective. Raises ModelError, naming those there are, when there is none."""
        if objective == LOSS:
            return self.encode
        if objective not in self.objectives:
            names = [LOSS, *self.objectives]
            raise ModelError(
                f"a model for {self.name} has no objective {objective!r}.{nearest(objective, names)} "
                f"It has {', '.join(names)}."
            )
        return self.objectives[objective]


@dataclass(frozen=True)
class Family(Generic[H]):
    """A family of models.

    hyperparameters: a frozen dataclass of numbers, strings and truth values with defaults, stored as JSON in the run
    build:           (size of each vocabulary of the task, ..., hyperparameters) -> a freshly initialised model;
                     `model(**inputs)` is a scalar loss
    """

    hyperparameters: type[H]
    build: Callable[..., nn.Module]
    task: Task


def family_names() -> list[str]:
    """The names of all families, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def family(name: str) -> Family[Any]:
    """The family called `name`. Raises ModelError, with the nearest names, when there is none."""
    names = family_names()
    if name not in names:
        raise ModelError(f"the zoo has no model {name!r}.{nearest(name, names)} It has {', '.join(names)}.")
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
            raise ModelError(f"{name} has no hyperparameter {key!r}.{nearest(key, known)} It has {', '.join(known)}.")
        fits = type(value) is types[key] or (types[key] is float and type(value) is int)
        if not fits:
            raise ModelError(f"{key} of {name} is {value!r}; it must be of type {types[key].__name__}.")
    try:
        return kind(**values)
    except ValueError as error:
        raise ModelError(f"{name} cannot be built: {error}") from error


def read_hyperparameters(name: str, assignments: Sequence[str]) -> dict[str, Any]:
    """`hidden_size=64` and the like as values of the types that family `name` wants.

    Raises ModelError for a text that is no assignment, and as `make_hyperparameters`.
    """
    kind = family(name).hyperparameters
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ModelError(f"{assignment!r} is no hyperparameter; write name=value, such as {_example(kind)}.")
        if key in values:
            raise ModelError(f"{key} is given twice, as {values[key]} and as {text}. Give it once.")
        values[key] = _parsed(key, text, types.get(key, str), name)
    make_hyperparameters(name, values)
    return values


def _example(kind: type[Any]) -> str:
    first = fields(kind)[0]
    return f"{first.name}={first.default}"


def _parsed(key: str, text: str, wanted: type[Any], name: str) -> Any:
    if wanted is bool:
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in known:
            raise ModelError(f"{key} of {name} is {text!r}; it must be true or false.")
        return known[text.lower()]
    try:
        return wanted(text)
    except ValueError as error:
        what = {int: "a whole number", float: "a number"}.get(wanted, wanted.__name__)
        raise ModelError(f"{key} of {name} is {text!r}; it must be {what}.") from error


def hyperparameter_values(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """All hyperparameters of family `name` as JSON values, defaults filled in. Raises as `make_hyperparameters`."""
    return asdict(make_hyperparameters(name, values))
