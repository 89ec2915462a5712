"""torch -> ONNX, with the names, shapes and orientation of the user's `state_dict` kept.

The exporter's own optimiser transposes, renames and merges parameters, so it is left out (`optimize=False`). What it
does well, folding shape arithmetic away, runs afterwards with the initializers hidden as graph inputs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnx_ir as ir
import torch
import torch.fx.experimental._config
from torch import Tensor, nn

from ..models import ModelError
from .capture import as_captured
from .folding import fold
from .precision import run_in_precision
from .quiet import quiet
from .refusals import refusal, root_cause
from .translations.decompositions import own_decompositions
from .translations.gradient_operators import TRANSLATIONS as GRADIENTS
from .translations.gradient_operators import add_functions, keep_gradient_operators
from .translations.kinks import TRANSLATIONS as KINKS
from .translations.kinks import keep_kinks
from .translations.losses import TRANSLATIONS as LOSSES
from .translations.recurrent import TRANSLATIONS as RECURRENT
from .translations.recurrent import recurrent_layers_whole
from .translations.scalars import TRANSLATIONS as SCALARS
from .translations.scalars import keep_digits, numbers_as_wide_as
from .unwrap import called_by, in_precision, module_inside, names_in_export, run_eagerly

OPSET = 20
_ATTEMPTS = 3


@dataclass
class Exported:
    """A model as ONNX.

    parameters: names of the initializers that are the model's parameters, in `state_dict` order
    aliases: for a tied weight, its other names
    inputs: what each input is called in it, another name where a parameter has its own
    program: what torch captured and the model was translated from, if it is known
    """

    model: onnx.ModelProto
    parameters: list[str]
    aliases: dict[str, list[str]] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    program: torch.export.ExportedProgram | None = None


def for_tracing(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of `model` in eval mode and `dtype`, every parameter with a gradient. The user's model is not touched."""
    model = in_precision(_copied(module_inside(model)), dtype).eval()
    run_eagerly(model)
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    if dtype == torch.float64:
        run_in_precision(model, dtype)
    return model


def _copied(model: nn.Module) -> nn.Module:
    """A deep copy. Tensors computed from parameters, which torch.nn.utils.weight_norm keeps, are copied as numbers."""
    kept = [x for module in model.modules() for x in vars(module).values() if isinstance(x, Tensor) and not x.is_leaf]
    try:
        return copy.deepcopy(model, {id(x): x.detach().clone() for x in kept})
    except Exception as error:  # whatever a user's model holds
        raise ModelError(f"the model cannot be copied (copy.deepcopy): {root_cause(error)}") from error


def export(model: nn.Module, inputs: Mapping[str, Tensor], *, dynamic: bool = True) -> Exported:
    """Export `model(**inputs)`; if `dynamic`, for every size of every axis but the first, where the model allows it.

    Raises ModelError when torch cannot export the model.
    """
    _refuse_projections(model)
    with _as_model_error():
        for _ in range(_ATTEMPTS - 1):
            with suppress(SystemError):  # of CPython 3.11, which miscounts in syntax trees now and then
                return _export(model, inputs, dynamic)
        return _export(model, inputs, dynamic)


def _export(model: nn.Module, inputs: Mapping[str, Tensor], dynamic: bool) -> Exported:
    names = names_in_export(model, inputs)
    program = _export_program(model, inputs, names, dynamic)
    model_ir = program.model
    _fix_sizes(model_ir, program.exported_program.range_constraints)
    parameters, aliases = _name_parameters(model, model_ir)
    fold(model_ir)
    keep_digits(model_ir)
    exported = ir.serde.serialize_model(model_ir)
    add_functions(exported)
    used = [name for name in parameters if name in model_ir.graph.initializers]
    return Exported(exported, used, aliases, names, program.exported_program)


def check_scalar(output: object) -> Tensor:
    """The model's output; ModelError unless it is one floating-point scalar that has a gradient."""
    if not isinstance(output, Tensor):
        got = f"a {type(output).__name__}"
    elif output.numel() != 1 or not output.is_floating_point():
        got = f"a tensor of shape {tuple(output.shape)} and {output.dtype}"
    elif not output.requires_grad:
        got = "a scalar that does not depend on the parameters"
    else:
        return output
    raise ModelError(
        f"the model's forward returned {got}; one floating-point scalar is wanted, such as a loss. "
        "Wrap the model in a module whose forward reduces its output to a scalar."
    )


def _export_program(model: nn.Module, inputs: Mapping[str, Tensor], names: Mapping[str, str], dynamic: bool) -> Any:
    auto, static = torch.export.Dim.AUTO, torch.export.Dim.STATIC
    inputs = {names[name]: x for name, x in inputs.items()}
    shapes = {name: {a: auto if a > 0 and dynamic else static for a in range(x.dim())} for name, x in inputs.items()}
    with quiet():
        with called_by(model, names):
            program = _captured(model, inputs, shapes)
        keep_gradient_operators(program)
        keep_kinks(program)
        with numbers_as_wide_as(model), own_decompositions():
            return torch.onnx.export(
                program,
                dynamo=True,
                optimize=False,
                opset_version=OPSET,
                verbose=False,
                custom_translation_table={**RECURRENT, **SCALARS, **GRADIENTS, **KINKS, **LOSSES},
            )


@contextmanager
def _as_model_error() -> Iterator[None]:
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # the exporter raises many types, each with pages of text
        raise ModelError(refusal(error)) from error


def _captured(model: nn.Module, inputs: Mapping[str, Tensor], shapes: dict[str, Any]) -> torch.export.ExportedProgram:
    """The program that torch captures, in the one of its two ways that works; the first one's error if neither does."""
    errors: list[Exception] = []
    for strict in (False, True):
        # an axis of size 1 in this sample may have any size in the next one
        any_size = torch.fx.experimental._config.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]
        try:
            with any_size, recurrent_layers_whole(), as_captured(model):
                return torch.export.export(model, (), dict(inputs), dynamic_shapes=shapes, strict=strict)
        except Exception as error:
            errors.append(error)
    raise errors[0]


def _fix_sizes(model: ir.Model, ranges: Mapping[Any, Any]) -> None:
    """A symbolic size for which the export holds at one value only (an unrolled loop) becomes that number."""
    fixed = {str(symbol): int(found.lower) for symbol, found in ranges.items() if found.lower == found.upper}
    for value in [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]:
        if value.shape is not None:
            value.shape = ir.Shape([_fixed(size, fixed) for size in value.shape])


def _fixed(size: int | ir.SymbolicDim, fixed: Mapping[str, int]) -> int | ir.SymbolicDim:
    symbol = str(size.value) if isinstance(size, ir.SymbolicDim) else ""
    return int(symbol) if symbol.isdigit() else fixed.get(symbol, size)


def _refuse_projections(model: nn.Module) -> None:
    """ONNX's LSTM has no projection; torch's exporter leaves it out without a word."""
    for name, module in model.named_modules():
        if isinstance(module, nn.LSTM) and module.proj_size:
            raise ModelError(
                f"module {name!r} is an LSTM with proj_size={module.proj_size}, which ONNX cannot express. "
                "Write its cell as a Python loop."
            )


def _name_parameters(model: nn.Module, model_ir: ir.Model) -> tuple[list[str], dict[str, list[str]]]:
    """The parameters in state_dict order, and the other names of tied ones.

    The export keeps the last name of a tied weight; here it gets its first one, as in `named_parameters`.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if not parameter.is_floating_point():
            continue  # the codes of a quantised weight
        names.setdefault(id(parameter), []).append(name)
    initializers = dict(model_ir.graph.initializers)
    kept: list[str] = []
    aliases: dict[str, list[str]] = {}
    for group in names.values():
        exported = [name for name in group if name in initializers]
        if not exported:
            continue  # a parameter that forward does not use
        initializers[exported[0]].name = group[0]
        kept.append(group[0])
        if len(group) > 1:
            aliases[group[0]] = group[1:]
    return kept, aliases
