"""torch -> ONNX, with the names, shapes and orientation of the user's `state_dict` kept.

The exporter's own optimiser transposes, renames and merges parameters, so it is left out (`optimize=False`). What it
does well, folding shape arithmetic away, runs afterwards with the initializers hidden as graph inputs.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes
import torch
from onnxscript import rewriter
from onnxscript.optimizer import fold_constants
from torch import Tensor, nn

from exporters.models import ModelError
from exporters.torch_recurrent import TRANSLATIONS, recurrent_layers_whole

OPSET = 20


@dataclass
class Exported:
    """A model as ONNX.

    parameters: names of the initializers that are the model's parameters, in `state_dict` order
    aliases: for a tied weight, its other names
    """

    model: onnx.ModelProto
    parameters: list[str]
    aliases: dict[str, list[str]] = field(default_factory=dict)


def for_tracing(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy of `model` in eval mode and `dtype`, every parameter with a gradient. The user's model is not touched."""
    model = copy.deepcopy(model).to(dtype).eval()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return model


def export(model: nn.Module, inputs: Mapping[str, Tensor]) -> Exported:
    """Export `model(**inputs)`, every axis but the batch axis dynamic where the model allows it.

    Raises ModelError when torch cannot export the model.
    """
    program = _export_program(model, inputs)
    model_ir = program.model
    parameters, aliases = _parameter_names(model, set(model_ir.graph.initializers))
    _fold(model_ir)
    return Exported(ir.serde.serialize_model(model_ir), parameters, aliases)


def check_scalar(output: object) -> None:
    """Raise ModelError unless `output` is one floating-point scalar that has a gradient."""
    if not isinstance(output, Tensor):
        got = f"a {type(output).__name__}"
    elif output.numel() != 1 or not output.is_floating_point():
        got = f"a tensor of shape {tuple(output.shape)} and {output.dtype}"
    elif not output.requires_grad:
        got = "a scalar that does not depend on the parameters"
    else:
        return
    raise ModelError(
        f"the model's forward returned {got}; one floating-point scalar is wanted, such as a loss. "
        "Wrap the model in a module whose forward reduces its output to a scalar."
    )


def _export_program(model: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    auto, static = torch.export.Dim.AUTO, torch.export.Dim.STATIC
    shapes = {name: {a: static if a == 0 else auto for a in range(x.dim())} for name, x in inputs.items()}
    try:
        with _quiet(), recurrent_layers_whole():
            return torch.onnx.export(
                model,
                kwargs=dict(inputs),
                dynamo=True,
                optimize=False,
                dynamic_shapes=shapes,
                opset_version=OPSET,
                verbose=False,
                custom_translation_table=TRANSLATIONS,
            )
    except Exception as error:  # the exporter raises many types, each with pages of text
        reason = _reason(error)
        raise ModelError(f"torch.onnx.export cannot export this model: {reason}") from error


def _reason(error: BaseException) -> str:
    """The first telling line of an exporter's error; the root cause has it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else error}"


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns and prints about its own internals; its errors are raised all the same."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.onnx._internal.exporter._registration")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _parameter_names(model: nn.Module, initializers: set[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Parameters in state_dict order under the name the export kept, and the other names of tied ones."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    kept: list[str] = []
    aliases: dict[str, list[str]] = {}
    for group in names.values():
        exported = [name for name in group if name in initializers]
        if not exported:
            continue  # a parameter that forward does not use
        kept.append(exported[0])
        if len(group) > 1:
            aliases[exported[0]] = [name for name in group if name != exported[0]]
    return kept, aliases


def _fold(model: ir.Model) -> None:
    """Fold shape arithmetic and drop what is not used, without touching the initializers."""
    graph = model.graph
    n_inputs = len(graph.inputs)
    hidden = list(graph.initializers.values())
    graph.initializers.clear()
    graph.inputs.extend(hidden)
    passes.InlinePass()(model)
    for _ in range(2):
        fold_constants(model, onnx_shape_inference=True)
        rewriter.RewritePass(rewriter._DEFAULT_REWRITE_RULES)(model)
        passes.RemoveUnusedNodesPass()(model)
    del graph.inputs[n_inputs:]
    for value in hidden:
        if value.uses():
            graph.initializers[str(value.name)] = value
    passes.RemoveUnusedOpsetsPass()(model)
