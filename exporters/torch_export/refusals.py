"""Why torch could not export a model, in one line: which function, where it stands, and what to do."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from torch import fx

# what to do about an error that has these words in it
_ADVICE = {
    "GuardOnDataDependentSymNode": (
        "The model decides something by the numbers in a tensor. nn.Transformer and its layers do so with masks unless "
        "told: pass is_causal=True (tgt_is_causal=True) with a causal mask, is_causal=False with another one. In code "
        "of your own, use torch.where"
    ),
    "Cannot swap": "The model's forward changes a module (module.to), which must be done before it is exported",
}
_OTHERWISE = "Write it with other functions: docs/coverage.md lists those that work"
_UNKNOWN = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)', overload='(\w+)'\)>")
_PLACE = re.compile(r'File "([^"]+)", line (\d+), in \w+\n\s*(.+)')


def refusal(error: BaseException) -> str:
    """What an error of torch's exporter, pages long, comes to."""
    reason = root_cause(error)
    node = _node(error)
    unknown = _UNKNOWN.search(reason)
    advice = next((text for sign, text in _ADVICE.items() if sign in reason), "")
    if node is None:
        return f"torch.onnx.export cannot export this model: {reason}" + (f". {advice}" if advice else "")
    why = f"ONNX has no operator for {unknown[1]}" if unknown else reason
    return f"torch.onnx.export cannot export {_described(node)}: {why}. {advice or _OTHERWISE}"


def root_cause(error: BaseException) -> str:
    """The first line of the error behind all others, with its type."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else error}"


def module_of(node: fx.Node) -> str:
    """The path of the module that a captured call belongs to; '' for the model itself."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack else ""


def _node(error: BaseException | None) -> fx.Node | None:
    """The call that was being translated, which the exporter holds while it works and does not say."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            node = frame.f_locals.get("node")
            if isinstance(node, fx.Node) and node.op == "call_function":
                return node
        error = error.__cause__
    return None


def _described(node: fx.Node) -> str:
    """The function as the model calls it, its module, and the line of code."""
    sources = node.meta.get("from_node") or []
    called = re.sub(r"_\d+$", "", str(sources[0].name if sources else node.name))
    path = module_of(node)
    module = f" in module {path!r}" if path else ""
    places = _PLACE.findall(node.meta.get("stack_trace") or "")
    if not places:
        return f"{called}{module}"
    file, line, code = places[-1]
    return f"{called}{module} ({Path(file).name}, line {line}: {code.strip()})"
