"""Operators that change gradients and no number, kept by the export: *stop_gradient* and *scale_gradient*.

torch's own graph of the program tells where gradients are cut or altered, and ONNX has no words for it: `detach()`,
parts under `no_grad`, and the gradients of embeddings with `padding_idx` or `scale_grad_by_freq`. They become two
operators of the domain `gradtrace`, functions that hand their input on, so that every other tool can run the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnxscript.values import Op, Opset
from torch import Tensor, fx
from torch.export.graph_signature import InputKind

from ...models import ModelError
from ...operators.registry import DOMAIN, SCALE_GRADIENT, STOP_GRADIENT

aten: Any = torch.ops.aten
_VERSION = 1
_BAGS = (
    aten.embedding_bag.default,
    aten.embedding_bag.padding_idx,
    aten._embedding_bag.default,
    aten._embedding_bag_forward_only.default,
)
_DETACHES = (aten.detach.default, aten.detach_.default, aten.detach_copy.default)


@torch.library.custom_op(f"{DOMAIN}::stop_gradient", mutates_args=())
def _stop_gradient(x: Tensor) -> Tensor:
    return x.clone()


@torch.library.custom_op(f"{DOMAIN}::scale_gradient", mutates_args=())
def _scale_gradient(x: Tensor, factor: Tensor) -> Tensor:
    del factor
    return x.clone()


@_stop_gradient.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


@_scale_gradient.register_fake
def _(x: Tensor, factor: Tensor) -> Tensor:
    del factor
    return torch.empty_like(x)


def _hold_factor(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    del output
    ctx.save_for_backward(inputs[1])


_stop_gradient.register_autograd(lambda _, gradient: torch.zeros_like(gradient))
_scale_gradient.register_autograd(lambda ctx, g: (g * ctx.saved_tensors[0], None), setup_context=_hold_factor)
_STOP: Any = torch.ops.gradtrace.stop_gradient.default
_SCALE: Any = torch.ops.gradtrace.scale_gradient.default


def keep_gradient_operators(program: torch.export.ExportedProgram) -> None:
    """Put the two operators where the program, as torch captured it, cuts or alters gradients."""
    constants = _constant_inputs(program)
    for module in program.graph_module.modules():
        if isinstance(module, fx.GraphModule):
            _keep_in(module, constants if module is program.graph_module else set())
            module.graph.lint()
            module.recompile()


def _constant_inputs(program: torch.export.ExportedProgram) -> set[str]:
    """Inputs of the program that no gradient reaches: what was no parameter, buffer or input of the user's."""
    kept = (InputKind.CONSTANT_TENSOR, InputKind.CUSTOM_OBJ, InputKind.TOKEN)
    return {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind in kept}


def _keep_in(module: fx.GraphModule, constants: set[str]) -> None:
    graph = module.graph
    plain = {node for node in graph.nodes if node.op == "placeholder" and node.name in constants}
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        if all(source in plain for source in node.all_input_nodes):
            plain.add(node)  # computed from constants alone
        elif node.target in _DETACHES and _is_floating(node):
            node.target = _STOP
        elif _switches_gradients_off(node):
            for taken in [user for user in node.users if _is_floating(user)]:
                _behind(graph, taken, lambda x: graph.call_function(_STOP, (x,)))
        elif node.target is aten.embedding.default:
            _keep_of_embedding(graph, node)
        elif node.target in _BAGS and _argument(node, "scale_grad_by_freq", 3):
            raise ModelError(
                "embedding_bag with scale_grad_by_freq cannot be kept by the export. Write embedding(...).sum(1), for "
                "which it can, or leave it out."
            )


def _switches_gradients_off(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") == "wrap_with_set_grad_enabled" and node.args[0] is False


def _is_floating(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.is_floating_point()


def _argument(node: fx.Node, name: str, place: int) -> Any:
    return node.args[place] if len(node.args) > place else node.kwargs.get(name)


def _keep_of_embedding(graph: fx.Graph, node: fx.Node) -> None:
    """torch leaves the gradient of the token `padding_idx` out, and divides by how often a token comes if asked to."""
    index = node.args[1]
    padding = _argument(node, "padding_idx", 2)
    by_frequency = _argument(node, "scale_grad_by_freq", 3)

    def call(target: Any, *args: Any) -> fx.Node:
        return graph.call_function(target, args)

    def padded(x: fx.Node) -> fx.Node:
        at_padding = call(aten.unsqueeze.default, call(aten.eq.Scalar, index, padding), -1)
        return call(aten.where.self, at_padding, call(_STOP, x), x)

    def scaled(x: fx.Node) -> fx.Node:
        flat = call(aten.reshape.default, index, [-1])
        alike = call(aten.eq.Tensor, call(aten.unsqueeze.default, index, -1), flat)
        often = call(aten.sum.dim_IntList, alike, [-1], True)
        dtype = node.meta["val"].dtype
        return call(_SCALE, x, call(aten.reciprocal.default, call(aten.to.dtype, often, dtype)))

    if by_frequency:
        _behind(graph, node, scaled)
    if padding is not None and padding != -1:
        _behind(graph, node, padded)


def _behind(graph: fx.Graph, node: fx.Node, make: Callable[[fx.Node], fx.Node]) -> None:
    """Let everything that reads `node` read `make(node)` instead. What is made belongs to the node's module."""
    readers = list(node.users)
    before = set(graph.nodes)
    with graph.inserting_after(node):
        last = node
        end = node.next
    with graph.inserting_before(end):
        last = make(node)
    for new in [n for n in graph.nodes if n not in before]:
        new.meta = {key: value for key, value in node.meta.items() if key != "val"}
    last.meta["val"] = node.meta.get("val")
    for reader in readers:
        reader.replace_input_with(node, last)


# In ONNX

_OPSET = Opset(DOMAIN, _VERSION)


def _onnx_operator(name: str, inputs: list[str]) -> Op:
    schema = onnx.defs.OpSchema(
        name,
        DOMAIN,
        _VERSION,
        inputs=[onnx.defs.OpSchema.FormalParameter(each, "T") for each in inputs],
        outputs=[onnx.defs.OpSchema.FormalParameter("output", "T")],
        type_constraints=[("T", ["tensor(float16)", "tensor(float)", "tensor(double)"], "floating-point")],
    )
    return Op(_OPSET, name, schema)


_ONNX_STOP = _onnx_operator(STOP_GRADIENT, ["input"])
_ONNX_SCALE = _onnx_operator(SCALE_GRADIENT, ["input", "factor"])


def _translated_stop(x: Any) -> Any:
    return _ONNX_STOP(x)


def _translated_scale(x: Any, factor: Any) -> Any:
    return _ONNX_SCALE(x, factor)


TRANSLATIONS: dict[Any, Any] = {_STOP: _translated_stop, _SCALE: _translated_scale}


def add_functions(model: onnx.ModelProto) -> None:
    """Give a model that uses the two operators their bodies, with which any runtime can run it."""
    used = {node.op_type for node in model.graph.node if node.domain == DOMAIN} & {STOP_GRADIENT, SCALE_GRADIENT}
    standard = [opset for opset in model.opset_import if opset.domain == ""]
    for name in sorted(used):
        inputs = ["input"] if name == STOP_GRADIENT else ["input", "factor"]
        body = [onnx.helper.make_node("Identity", ["input"], ["output"])]
        model.functions.append(onnx.helper.make_function(DOMAIN, name, inputs, ["output"], body, standard))
    if used and DOMAIN not in [opset.domain for opset in model.opset_import]:
        model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, _VERSION))
