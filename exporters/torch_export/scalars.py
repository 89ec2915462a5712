"""Python numbers in a model, exported with all their digits.

torch's own translation makes a float32 constant and casts it, so that a float64 export has 0.79788458 for sqrt(2 / pi).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset20

from ..onnx_graph.values import as_written

op: Any = opset20


def _scalar_tensor(s: Any, dtype: int = -1, layout: str = "", device: str = "", pin_memory: bool = False) -> Any:
    """aten::scalar_tensor. A number known at export becomes a constant of its type, a symbolic one is cast."""
    del layout, device, pin_memory
    kind = ir.DataType.FLOAT if dtype == -1 else ir.DataType(dtype)
    if isinstance(s, bool | int | float):
        return op.Constant(value=ir.serde.serialize_tensor(ir.tensor(s, dtype=kind)))
    return op.Cast(s, to=int(kind))


TRANSLATIONS: dict[Any, Any] = {torch.ops.aten.scalar_tensor.default: _scalar_tensor}


def widen_numbers(model: ir.Model) -> None:
    """Let every float32 number that is cast, as the `scale` of an attention is, be cast from all of its digits."""
    for node in list(model.graph):
        number = _number(node.inputs[0]) if node.op_type in ("Cast", "CastLike") else None
        if number is not None:
            wide = ir.node("Constant", [], {"value": ir.tensor(np.float64(as_written(number)))})
            model.graph.insert_before(node, wide)
            node.replace_input_with(0, wide.outputs[0])


def _number(value: ir.Value | None) -> float | None:
    """The float32 number that a constant is, if it is one."""
    maker = None if value is None else value.producer()
    if maker is None or maker.op_type != "Constant":
        return None
    if "value_float" in maker.attributes:
        return maker.attributes["value_float"].as_float()
    held = maker.attributes.get("value")
    tensor = None if held is None else held.as_tensor()
    return (
        float(tensor.numpy()) if tensor is not None and tensor.dtype == ir.DataType.FLOAT and not tensor.shape else None
    )
