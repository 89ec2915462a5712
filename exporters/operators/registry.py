"""What gradtrace can run: primitives of four kinds, operators without gradients, and composites made of primitives.

A *primitive* is one operator of the lowered graph. Its kind alone decides its edges (see the file of each kind). An
operator *without gradient* is run and never recorded. A *composite* is a function that computes itself on the tape.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["elementwise", "copies", "reduces", "contracts"]
Compute = Callable[..., "Tensor"]
Composite = Callable[..., Any]
AnyComposite = TypeVar("AnyComposite", bound=Composite)


@dataclass(frozen=True)
class Primitive:
    """One operator of the lowered graph.

    compute: (*inputs, **attributes) -> output, in torch, with the inputs and attributes of the ONNX operator
    repeats: for copies, what `compute` does to element numbers; `compute` itself unless it changes numbers
    """

    name: str
    kind: Kind
    compute: Compute
    repeats: Compute | None = None


PRIMITIVES: dict[str, Primitive] = {}
WITHOUT_GRADIENT: dict[str, Compute] = {}
COMPOSITES: dict[str, Composite] = {}


def is_known(op_type: str) -> bool:
    """Whether an ONNX operator of this type can be run."""
    return op_type in PRIMITIVES or op_type in WITHOUT_GRADIENT or op_type in COMPOSITES


def variant(op_type: str, reduction: str) -> str:
    """The name of a rule: a scatter that adds values up is no copy, and known as `ScatterElements.add`."""
    name = f"{op_type}.{reduction}"
    return name if name in COMPOSITES else op_type


def primitive(name: str, kind: Kind, compute: Compute, repeats: Compute | None = None) -> None:
    """Register the primitive operator `name`."""
    _refuse_duplicate(name)
    PRIMITIVES[name] = Primitive(name, kind, compute, repeats)


def without_gradient(name: str, compute: Compute) -> None:
    """Register an operator whose outputs are integers, booleans or shapes, and never have edges."""
    _refuse_duplicate(name)
    WITHOUT_GRADIENT[name] = compute


def composite(name: str) -> Callable[[AnyComposite], AnyComposite]:
    """Register `function(tape, *values, **attributes)` as the lowering of the ONNX operator `name`.

    It calls primitives as `tape("Mul", x, y)` and returns one Value, or a list of them for several outputs.
    """

    def register(function: AnyComposite) -> AnyComposite:
        _refuse_duplicate(name)
        COMPOSITES[name] = function
        return function

    return register


def _refuse_duplicate(name: str) -> None:
    if is_known(name):
        raise ValueError(f"operator {name} is registered twice")
