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

# operators of ours that ONNX has no words for: they hand their first input on, and change its gradient
DOMAIN = "gradtrace"
STOP_GRADIENT = "StopGradient"
SCALE_GRADIENT = "ScaleGradient"
CROSS_ENTROPY = "cross_entropy"  # the function that the export writes out in several operators

Kind = Literal["elementwise", "copies", "reduces", "contracts"]
Compute = Callable[..., "Tensor"]
Composite = Callable[..., Any]
AnyComposite = TypeVar("AnyComposite", bound=Composite)

# What an operator hands on unchanged: its first input in another precision or another shape, a part of it, several
# inputs joined, one of two by a mask; or the input scaled, shifted or bounded, as scores are before a softmax
PassesOn = Literal["precision", "shape", "part", "join", "mask", "scale"]

# Which of torch's own subgradients is meant where an operator has a kink, and torch's functions of one ONNX operator
# differ there; the export writes it on the node, under this name. Without it the first one of each operator is meant.
SUBGRADIENT = "subgradient"

# How the token axes of an output follow from those of the inputs; each has its function in `tape/token_axes.py`
TokenRule = Literal[
    "agreed", "first", "choice", "joined", "in_order", "unsqueezed", "permuted", "picked", "one_hot", "numbers",
    "reduced", "product", "none",
]  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What is true of an ONNX operator beside how it is computed.

    passes_on:  what a search through the graph may look through it for; None where it computes something new
    multiplies: whether it sums products of its first two inputs
    saturates:  whether its output is bounded on both sides, so that its derivative vanishes for large inputs
    gate:       whether it saturates between 0 and 1, as what gates other values does
    activates:  whether RNN, LSTM and GRU may name it as an activation
    linear:     whether its derivatives depend on the shapes of its inputs alone
    kinks:      the values that its attribute `subgradient` may have
    """

    passes_on: PassesOn | None = None
    multiplies: bool = False
    saturates: bool = False
    gate: bool = False
    activates: bool = False
    linear: bool = False
    kinks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Primitive:
    """One operator of the lowered graph.

    compute: (*inputs, **attributes) -> output, in torch, with the inputs and attributes of the ONNX operator
    repeats: for copies, what `compute` does to element numbers; `compute` itself unless it changes numbers
    tokens:  its rule for axes over tokens
    filled:  for copies, the input beside the first whose elements they repeat too, if there is one
    """

    name: str
    kind: Kind
    compute: Compute
    repeats: Compute | None = None
    tokens: TokenRule = "none"
    filled: int | None = None
    facts: Facts = Facts()


# operators whose output depends on the shapes of their inputs alone
OF_SHAPES = frozenset({"Shape", "Size", "EyeLike"})

PRIMITIVES: dict[str, Primitive] = {}
WITHOUT_GRADIENT: dict[str, Compute] = {}
COMPOSITES: dict[str, Composite] = {}
_TOKENS: dict[str, TokenRule] = {}  # of operators without gradient
_FACTS: dict[str, Facts] = {}  # of primitives and composites


def facts_of(op_type: str) -> Facts:
    """The facts of an ONNX operator; an unknown one has none."""
    return _FACTS.get(op_type, Facts())


def token_rule_of(op_type: str) -> TokenRule:
    """The token rule of an operator without gradient."""
    return _TOKENS.get(op_type, "none")


def is_known(op_type: str) -> bool:
    """Whether an ONNX operator of this type can be run."""
    return op_type in PRIMITIVES or op_type in WITHOUT_GRADIENT or op_type in COMPOSITES


def variant(op_type: str, reduction: str) -> str:
    """The name of a rule: a scatter that adds values up is no copy, and known as `ScatterElements.add`."""
    name = f"{op_type}.{reduction}"
    return name if name in COMPOSITES else op_type


def primitive(primitive: Primitive) -> None:
    """Register a primitive operator."""
    _refuse_duplicate(primitive.name)
    PRIMITIVES[primitive.name] = primitive
    _FACTS[primitive.name] = primitive.facts


def without_gradient(name: str, compute: Compute, tokens: TokenRule = "none") -> None:
    """Register an operator whose outputs are integers, booleans or shapes, and never have edges."""
    _refuse_duplicate(name)
    WITHOUT_GRADIENT[name] = compute
    _TOKENS[name] = tokens


def composite(
    name: str, *, multiplies: bool = False, kinks: tuple[str, ...] = ()
) -> Callable[[AnyComposite], AnyComposite]:
    """Register `function(tape, *values, **attributes)` as the lowering of the ONNX operator `name`.

    It calls primitives as `tape("Mul", x, y)` and returns one Value, or a list of them for several outputs.
    """

    def register(function: AnyComposite) -> AnyComposite:
        _refuse_duplicate(name)
        COMPOSITES[name] = function
        _FACTS[name] = Facts(multiplies=multiplies, kinks=kinks)
        return function

    return register


def _refuse_duplicate(name: str) -> None:
    if is_known(name):
        raise ValueError(f"operator {name} is registered twice")
