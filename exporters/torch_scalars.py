"""Python numbers in a model, exported with all their digits.

torch's own translation makes a float32 constant and casts it, so that a float64 export has 0.79788458 for sqrt(2 / pi).
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import torch
from onnxscript import opset20

op: Any = opset20


def _scalar_tensor(s: Any, dtype: int = -1, layout: str = "", device: str = "", pin_memory: bool = False) -> Any:
    """aten::scalar_tensor. A number known at export becomes a constant of its type, a symbolic one is cast."""
    del layout, device, pin_memory
    kind = ir.DataType.FLOAT if dtype == -1 else ir.DataType(dtype)
    if isinstance(s, bool | int | float):
        return op.Constant(value=ir.serde.serialize_tensor(ir.tensor(s, dtype=kind)))
    return op.Cast(s, to=int(kind))


TRANSLATIONS: dict[Any, Any] = {torch.ops.aten.scalar_tensor.default: _scalar_tensor}
