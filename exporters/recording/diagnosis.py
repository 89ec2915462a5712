"""Where an export and torch part: the first operator whose values, or whose gradients, differ.

The program that torch captured stands between the two. It is run in torch, operator by operator, and its tensors have
the names of the export's, so that they can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind, InputSpec

from ..tape.values import TapeTensor
from ..torch_export.export import Exported
from ..torch_export.refusals import module_of
from ..torch_export.translations.kinks import EAGER as KINKS
from ..torch_export.translations.recurrent import EAGER as RECURRENT
from .recorder import Recording

_CLOSE = {torch.float64: 1e-10, torch.float32: 1e-4}
_EAGER: dict[Any, Callable[..., Any]] = {**KINKS, **RECURRENT}


def first_difference(exported: Exported, module: nn.Module, inputs: Mapping[str, Tensor], recording: Recording) -> str:
    """A clause that names the first operator at which the export parts from torch, or the module before it."""
    if exported.program is None:
        return ""
    run = _Run(exported.program.graph_module)
    try:
        run.through(exported.program, {exported.inputs[name]: x for name, x in inputs.items()})
    except Exception as error:  # such as an operator that this torch cannot run outside of an export
        return f"the program that torch captured cannot be run by itself ({type(error).__name__})"
    ours = {tensor.name: tensor for tensor in recording.tape.tensors}
    close = _CLOSE[recording.tape.dtype]
    names = {node: run.parameters.get(node.name, node.name) for node in run.values}
    for node, value in run.values.items():
        tensor = ours.get(names[node])
        if tensor is not None and _differ(tensor.value.data, value, close):
            return f"the values of {_described(node)} are the first to differ"
    for node, value in reversed(run.values.items()):
        gradient = None if names[node] not in ours else _gradient(recording, ours[names[node]])
        if gradient is not None and _differ(gradient, run.gradients.get(node, torch.zeros_like(value)), close):
            readers = ", ".join(_described(user) for user in node.users)
            return f"the gradients that {readers} sends back to {names[node]!r} are the first to differ"
    at = _first_module(run, module, inputs, close)
    where = f"; the outputs of module {at!r} are the first to differ" if at else ""
    return f"the program that torch captured computes something else than the model's forward{where}"


class _Run(fx.Interpreter):
    """Runs a captured program in torch.

    values: floating-point tensors by node, in order     gradients: of the loss     parameters: their names, by node's
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)
        self.values: dict[fx.Node, Tensor] = {}
        self.gradients: dict[fx.Node, Tensor] = {}
        self.parameters: Mapping[str, str] = {}

    def through(self, program: torch.export.ExportedProgram, inputs: Mapping[str, Tensor]) -> None:
        """Run forward and backward on a sample."""
        self.parameters = program.graph_signature.inputs_to_parameters
        given = [_given(program, spec, inputs) for spec in program.graph_signature.input_specs]
        with torch.enable_grad():
            outputs = self.run(*given)
        names = [spec.arg.name for spec in program.graph_signature.output_specs]
        loss = outputs[names.index(program.graph_signature.user_outputs[0])]
        learned = {node: value for node, value in self.values.items() if value.requires_grad}
        found = torch.autograd.grad(loss.reshape(()), list(learned.values()), allow_unused=True, materialize_grads=True)
        self.gradients = dict(zip(learned, found, strict=True))

    def run_node(self, n: fx.Node) -> Any:
        """See fx.Interpreter."""
        result = super().run_node(n)
        if (
            (n.op == "call_function" or n.name in self.parameters)
            and isinstance(result, Tensor)
            and result.is_floating_point()
        ):
            self.values[n] = result
        return result

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """See fx.Interpreter. Operators of ours are known to torch.export only."""
        return super().call_function(_EAGER.get(target, target), args, kwargs)


def _given(program: torch.export.ExportedProgram, spec: InputSpec, inputs: Mapping[str, Tensor]) -> Any:
    if spec.kind == InputKind.USER_INPUT:
        return inputs[spec.arg.name]
    target = str(spec.target)
    held = program.state_dict[target] if target in program.state_dict else program.constants[target]
    return held.detach().requires_grad_() if spec.kind == InputKind.PARAMETER and held.is_floating_point() else held


def _gradient(recording: Recording, tensor: TapeTensor) -> Tensor | None:
    if tensor.first_vertex is None:
        return None
    return torch.from_numpy(recording.gradients[tensor.vertices]).reshape(tensor.value.shape)


def _differ(ours: Tensor, theirs: Tensor, close: float) -> bool:
    if ours.shape != theirs.shape:
        return False  # an operator of the export that is not this one
    theirs = theirs.to(ours.dtype)
    scale = float(theirs.detach().abs().max()) if theirs.numel() else 0.0
    return not torch.allclose(ours.detach(), theirs.detach(), rtol=close, atol=close * scale, equal_nan=True)


def _described(node: fx.Node) -> str:
    path = module_of(node)
    return f"{node.target} ({node.name!r}" + (f" in module {path!r})" if path else ")")


def _first_module(run: _Run, module: nn.Module, inputs: Mapping[str, Tensor], close: float) -> str:
    """The first module, innermost first, whose output in torch is not that of its last captured operator."""
    last: dict[str, Tensor] = {}
    for node, value in run.values.items():
        for path, _ in node.meta.get("nn_module_stack", {}).values():
            last[str(path)] = value
    for path, output in _outputs(module, inputs):
        if path and path in last and _differ(last[path], output, close):
            return path
    return ""


def _outputs(module: nn.Module, inputs: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    """What each module gives, in the order in which they end."""
    found: list[tuple[str, Tensor]] = []

    def note(path: str, output: Any) -> None:
        if isinstance(output, Tensor):
            found.append((path, output.detach()))

    handles = [
        each.register_forward_hook(lambda _module, _inputs, output, path=path: note(path, output))
        for path, each in module.named_modules()
    ]
    try:
        module(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return found
