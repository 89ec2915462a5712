"""Tensors, types and axes of ONNX as torch sees them. Every floating type becomes the recording's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from ..models import ModelError
from ..tape.token_spans import Axes

_CONSTANTS = ("value", "value_float", "value_floats", "value_int", "value_ints")  # what a node Constant may hold


def tensor_of(proto: onnx.TensorProto, dtype: torch.dtype, base: str) -> Tensor:
    """A stored tensor; `base` is the folder of the model file, where external data lies."""
    array = numpy_helper.to_array(proto, base)
    _refuse_no_numbers(array, f"tensor {proto.name!r}")
    if array.dtype.kind not in "fiub":  # bfloat16 and the like
        array = array.astype(np.float32)
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _refuse_no_numbers(array: np.ndarray[Any, Any], what: str) -> None:
    if array.dtype.kind in "OSUc":
        kind = "complex numbers" if array.dtype.kind == "c" else "texts"
        raise ModelError(f"{what} is of {kind}; real numbers or booleans are wanted")


def constant_of(node: onnx.NodeProto, dtype: torch.dtype, base: str) -> Tensor:
    """The value of a node Constant, whichever attribute holds it."""
    if len(node.attribute) != 1 or node.attribute[0].name not in _CONSTANTS:
        given = ", ".join(attribute.name for attribute in node.attribute) or "nothing"
        raise ModelError(f"the constant {node.output[0]!r} has {given}; one of {', '.join(_CONSTANTS)} is wanted")
    attribute = node.attribute[0]
    value = attribute_of(attribute, dtype, base)
    if isinstance(value, Tensor):
        return value
    return torch.tensor(value, dtype=dtype if attribute.name.startswith("value_float") else torch.int64)


def attribute_of(attribute: onnx.AttributeProto, dtype: torch.dtype, base: str) -> Any:
    """An attribute's value: a number, a text, a torch type, a tensor, or a list of them."""
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name in ("to", "dtype"):
        return torch_dtype(value, dtype)
    if attribute.type == onnx.AttributeProto.TENSOR:
        return tensor_of(value, dtype, base)
    if attribute.type == onnx.AttributeProto.FLOAT:
        return as_written(value)
    if attribute.type == onnx.AttributeProto.FLOATS:
        return [as_written(v) for v in value]
    if attribute.type == onnx.AttributeProto.STRING:
        return bytes(value).decode()
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [v.decode() for v in value]
    return list(value) if isinstance(value, Sequence) or attribute.type >= onnx.AttributeProto.FLOATS else value


def as_written(value: float) -> float:
    """The number that somebody wrote: ONNX keeps 1e-5 as a float32, 9.99999974e-06, which float64 can tell apart."""
    return float(str(np.float32(value)))


def exact_key(attribute: str) -> str:
    """The key of a node's metadata that has all digits of a floating-point attribute, where float32 has too few."""
    return f"gradtrace.{attribute}"


def exact_number(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> float | None:
    """The number that a floating-point attribute stands for, where the export wrote it beside; else None."""
    key = exact_key(attribute.name)
    text = next((p.value for p in node.metadata_props if p.key == key), None)
    if text is None or attribute.type != onnx.AttributeProto.FLOAT:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.float32(number) == np.float32(attribute.f) else None  # else somebody changed the attribute


def torch_dtype(onnx_type: int, dtype: torch.dtype) -> torch.dtype:
    """Every floating type becomes the recording's, so that float64 stays exact through casts."""
    try:
        array = np.empty(0, dtype=onnx.helper.tensor_dtype_to_np_dtype(onnx_type))
    except KeyError as error:
        raise ModelError(f"there is no ONNX type {onnx_type} of tensors") from error
    _refuse_no_numbers(array, "a value")
    if array.dtype.kind not in "iub":
        return dtype
    return torch.from_numpy(array).dtype


def axes_of_value(value: onnx.ValueInfoProto) -> Axes:
    """The axes an exported value declares."""
    return tuple(
        d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in value.type.tensor_type.shape.dim
    )
