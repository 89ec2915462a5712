"""Shape arithmetic folded away after the export, by rewrites that change no number and no derivative.

Rewriters are made for inference: they take 1e-9 for 0, and Max behind Min for Clip, whose derivative at the bounds is
another one. Only rules that copy elements, and exact neutral elements, are used here, and no arithmetic on
floating-point numbers is done in advance, where another library would round it differently.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import onnx_ir.passes.common as passes
from onnxscript import rewriter
from onnxscript.optimizer import fold_constants
from onnxscript.rewriter import pattern
from onnxscript.rewriter.rules.common import (
    _basic_rules,
    _broadcast_to_matmul,
    _cast_constant_of_shape,
    _collapse_slices,
    _fuse_pad_into_conv,
    _materialize_reshape_shape,
    _no_op,
    _redundant_scatter_nd,
    _remove_optional_bias,
)

from ...queries.errors import first_line
from .. import lowering as _composites  # noqa: F401  registers them
from .. import operators as _primitives  # noqa: F401  registers them
from ..models import ModelError
from ..operators.registry import COMPOSITES, PRIMITIVES
from .quiet import quiet
from .translations.scalars import widen_numbers


def _exactly(number: float) -> Any:
    return pattern.Constant(number, rel_tol=0.0, abs_tol=0.0)


def _plus_0(op: Any, x: Any) -> Any:
    return op.Add(x, _exactly(0))


def _minus_0(op: Any, x: Any) -> Any:
    return op.Sub(x, _exactly(0))


def _times_1(op: Any, x: Any) -> Any:
    return op.Mul(x, _exactly(1))


def _over_1(op: Any, x: Any) -> Any:
    return op.Div(x, _exactly(1))


def _itself(op: Any, x: Any, **_: Any) -> Any:
    return op.Identity(x)


_RULES = (
    *pattern.RewriteRule(_times_1, _itself).commute(),
    *pattern.RewriteRule(_plus_0, _itself).commute(),
    pattern.RewriteRule(_minus_0, _itself),
    pattern.RewriteRule(_over_1, _itself),
    _no_op.dropout_zero_rule,
    _no_op.dropout_inference_rule,
    *_broadcast_to_matmul.rules,
    *_cast_constant_of_shape.rules,
    *_collapse_slices.rules,
    *_materialize_reshape_shape.rules,
    # but that of two slices, which looks at the whole graph for every operator
    *(rule for rule in _basic_rules.basic_optimization_rules() if rule.name != _basic_rules.slice_split_rule.name),
    *_redundant_scatter_nd.rules,
    *_fuse_pad_into_conv.rules,
    *_remove_optional_bias.rules,
)


def fold(model: ir.Model) -> None:
    """Fold shape arithmetic and drop what is not used, without touching the initializers.

    Raises ModelError when onnxscript fails at it.
    """
    graph = model.graph
    n_inputs = len(graph.inputs)
    hidden = list(graph.initializers.values())
    tensors = [value.const_value for value in hidden]
    graph.initializers.clear()
    graph.inputs.extend(hidden)
    for value in hidden:
        value.const_value = None  # a rewriting rule drops biases that it sees to be zero
    passes.InlinePass()(model)
    widen_numbers(model)
    try:
        with quiet():
            for _ in range(2):
                fold_constants(model, onnx_shape_inference=True, should_fold=_should_fold)
                rewriter.RewritePass(_RULES)(model)
                passes.RemoveUnusedNodesPass()(model)
    except Exception as error:  # a size that is not known yet, such as that of chunks
        raise ModelError(f"the exported graph cannot be folded by onnxscript: {first_line(error)}") from error
    del graph.inputs[n_inputs:]
    for value, tensor in zip(hidden, tensors, strict=True):
        value.const_value = tensor
        if value.uses():
            graph.initializers[str(value.name)] = value
    passes.RemoveUnusedOpsetsPass()(model)


def _should_fold(node: ir.Node) -> bool | None:
    """False for arithmetic on floating-point numbers, None (the folder's own rules) for everything else."""
    computes = node.op_type in COMPOSITES or (node.op_type in PRIMITIVES and PRIMITIVES[node.op_type].kind != "copies")
    types = [value.dtype for value in (*node.inputs, *node.outputs) if value is not None]
    return False if computes and any(t is not None and t.is_floating_point() for t in types) else None
