"""Python numbers in a model, exported with all their digits.

ONNX's attributes are float32, and torch's translations make float32 constants and cast them, so that a float64 export
had 0.79788458 for sqrt(2 / pi). Constants are made as wide as the model; digits that an attribute cannot hold stand
beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset20
from torch import nn
from torch.onnx._internal.exporter import _building

from ...onnx_graph.values import as_written, exact_key
from ..precision import as_default
from ..replaced import replaced

op: Any = opset20


def _scalar_tensor(s: Any, dtype: int = -1, layout: str = "", device: str = "", pin_memory: bool = False) -> Any:
    """aten::scalar_tensor. A number known at export becomes a constant of its type, a symbolic one is cast."""
    del layout, device, pin_memory
    kind = ir.DataType.FLOAT if dtype == -1 else ir.DataType(dtype)
    if isinstance(s, bool | int | float):
        return op.Constant(value=ir.serde.serialize_tensor(ir.tensor(s, dtype=kind)))
    return op.Cast(s, to=int(kind))


TRANSLATIONS: dict[Any, Any] = {torch.ops.aten.scalar_tensor.default: _scalar_tensor}


@contextmanager
def numbers_as_wide_as(model: nn.Module) -> Iterator[None]:
    """While active, numbers and tensors without a type are float64 if the model is, as they were in its forward."""
    original: Any = _building._get_or_create_constant
    if not any(parameter.dtype == torch.float64 for parameter in model.parameters()):
        yield
        return

    def make(known: Any, number: Any, dtype: ir.DataType, opset: Any) -> Any:
        parts = number if isinstance(number, list | tuple) else [number]
        if dtype == ir.DataType.FLOAT and any(isinstance(part, float) for part in parts):
            dtype = ir.DataType.DOUBLE
        return original(known, number, dtype, opset)

    with replaced(_building, _get_or_create_constant=make), as_default(torch.float64):
        yield


def widen_numbers(model: ir.Model) -> None:
    """Let every number that is cast, as the `scale` of an attention is, be cast from all of its digits."""
    for node in list(model.graph):
        number = _number(node.inputs[0]) if node.op_type in ("Cast", "CastLike") else None
        if number is not None:
            wide = ir.node("Constant", [], {"value": ir.tensor(np.float64(number))})
            model.graph.insert_before(node, wide)
            node.replace_input_with(0, wide.outputs[0])


def _number(value: ir.Value | None) -> float | None:
    """The number that a float32 constant is, if it is one."""
    maker = None if value is None else value.producer()
    if maker is None or maker.op_type != "Constant":
        return None
    if "value_float" in maker.attributes:
        return maker.attributes["value_float"].as_float()  # until it is saved, it has the digits of Python's float
    held = maker.attributes.get("value")
    tensor = None if held is None else held.as_tensor()
    is_number = tensor is not None and tensor.dtype == ir.DataType.FLOAT and not tensor.shape
    return as_written(float(tensor.numpy())) if tensor is not None and is_number else None


def keep_digits(model: ir.Model) -> None:
    """Write beside every attribute that float32 would round, such as an alpha of 1/6, what it is (see `exact_key`)."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.FLOAT:
                number = attribute.as_float()
                if as_written(number) != number:
                    node.metadata_props[exact_key(attribute.name)] = repr(number)
