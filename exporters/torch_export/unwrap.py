"""The module to trace: what is inside of torch.compile and DataParallel, and what cannot be traced refused by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..models import ModelError
from .replaced import replaced

_BY_POSITION = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)


def module_inside(model: nn.Module) -> nn.Module:
    """The module within torch.compile(module), nn.DataParallel(module) and the like, around which they change nothing.

    Raises ModelError for a module that cannot be traced: a script, one without numbers or on another device, one whose
    inputs have no names.
    """
    while True:
        if isinstance(model, _optimized_module()):
            model = model._orig_mod
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            break
    for name, module in model.named_modules():
        _refuse_script(name, module)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        _refuse_tensor(name, tensor)
    _refuse_positions(model)
    return model


def run_eagerly(model: nn.Module) -> None:
    """Let parts of `model` that are to be compiled run as they were written."""
    for module in model.modules():
        if isinstance(module, _optimized_module()):
            module.forward = module._orig_mod.__call__


def _optimized_module() -> Any:
    from torch._dynamo import OptimizedModule  # which takes a second to import

    return OptimizedModule


def _refuse_script(name: str, module: nn.Module) -> None:
    if isinstance(module, torch.jit.ScriptModule):
        what = f"module {name!r} is" if name else "the model is"
        raise ModelError(
            f"{what} a TorchScript module, which no longer has the Python code to be traced. "
            "Give the module that torch.jit.script or torch.jit.trace was called with."
        )


def _refuse_tensor(name: str, tensor: Tensor) -> None:
    if nn.parameter.is_lazy(tensor):
        raise ModelError(
            f"{name} has no size yet: run the model once on a sample, so that its lazy modules know their sizes"
        )
    if tensor.device.type == "meta":
        raise ModelError(f"{name} is on the meta device and has no numbers. Load the model's weights on the CPU.")
    if tensor.device.type != "cpu":
        raise ModelError(f"{name} is on {tensor.device}; the CPU is wanted. Give model.cpu().")
    if tensor.is_complex() and isinstance(tensor, nn.Parameter):
        raise ModelError(
            f"the parameter {name} is complex; real ones are wanted. Hold its real and imaginary part as a parameter "
            "of one more axis, and use torch.view_as_complex"
        )


def _refuse_positions(model: nn.Module) -> None:
    for argument in inspect.signature(model.forward).parameters.values():
        if argument.kind in _BY_POSITION and argument.default is argument.empty:
            star = "*" if argument.kind is inspect.Parameter.VAR_POSITIONAL else ""
            raise ModelError(
                f"forward takes {star}{argument.name} by position; inputs are given by name. "
                "Write forward(self, input_ids, targets), with the names that the encoder gives its inputs."
            )


def in_precision(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`model` with every floating-point number in `dtype`, complex ones in its complex type."""
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64

    def converted(x: Tensor) -> Tensor:
        if x.is_complex():
            return x.to(complex_dtype)
        return x.to(dtype) if x.is_floating_point() else x

    model._apply(converted)  # type: ignore[no-untyped-call]
    return model


def names_in_export(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, str]:
    """What the export calls each input: another name where a parameter or buffer has its own already."""
    taken = {name for name, _ in [*model.named_parameters(), *model.named_buffers()]}
    names: dict[str, str] = {}
    for name in inputs:
        other = name
        while other in taken or (other != name and other in inputs):
            other += "_input"
        names[name] = other
    return names


@contextmanager
def called_by(model: nn.Module, names: Mapping[str, str]) -> Iterator[None]:
    """While active, `model` takes just these inputs, of which `names` says what they are called meanwhile."""
    forward = model.forward
    own_names = {new: old for old, new in names.items()}

    @functools.wraps(forward)
    def call(*values: Tensor, **named: Tensor) -> Any:
        given = dict(zip(own_names, values, strict=False)) | named
        return forward(**{own_names[name]: value for name, value in given.items()})

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in own_names]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with replaced(model, forward=call):
        yield
