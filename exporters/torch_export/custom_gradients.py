"""Gradients that a model makes itself, which no export can keep: they are found where torch has them, and refused.

A custom `autograd.Function` stands in torch's graph of a forward pass. A hook on a parameter is on the tensor, one on
an activation is seen when forward registers it, one on a module when it answers. A hook that only looks is no harm:
each is tried on a gradient made up, or watched on the real one, and refused if it answers with another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode

from ..models import ModelError

Hook = Callable[..., Any]


def refuse_parameter_hooks(model: nn.Module) -> None:
    """Raise ModelError for a hook that changes the gradient of a parameter. A copy of the model has none of them."""
    for name, parameter in model.named_parameters():
        for hook in (parameter._backward_hooks or {}).values():
            if _changes(hook, parameter):
                raise _refusal(f"a hook on the parameter {name!r} ({_place(hook)}) changes its gradient")


@contextmanager
def watched(model: nn.Module) -> Iterator[Callable[[Tensor], None]]:
    """While active, hooks are watched. Call what is yielded with the model's output, after its backward pass.

    It raises ModelError when a hook changed a gradient, or a function with a backward of its own made one.
    """
    found: list[str] = []
    watch = _HookWatch(found)
    handed: list[tuple[dict[int, Hook], dict[int, Hook]]] = []
    for name, module in model.named_modules():
        for hooks in (module._backward_hooks, module._backward_pre_hooks):
            handed.append((hooks, dict(hooks)))
            hooks.update({key: _watching(hook, name, found) for key, hook in hooks.items()})

    def check(output: Tensor) -> None:
        if found:
            raise _refusal(found[0])
        function = next(_custom_functions(output), None)
        if function is not None:
            raise _refusal(f"{function} has a backward of its own (torch.autograd.Function)")

    try:
        with watch:
            yield check
    finally:
        for hooks, originals in handed:
            hooks.update(originals)


class _HookWatch(TorchFunctionMode):
    """Tries every hook that forward registers on an activation."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self._found = found

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        given = dict(kwargs or {})
        if func is Tensor.register_hook:
            hook = given.get("hook", args[1] if len(args) > 1 else None)
            if _changes(hook, args[0]):
                self._found.append(f"a hook that forward registers ({_place(hook)}) changes a gradient")
        return func(*args, **given)


def _watching(hook: Hook, module: str, found: list[str]) -> Hook:
    """The hook of a module; when it answers, with a gradient of its own, that is noted."""

    def watching(*given: Any) -> Any:
        answer = hook(*given)
        if answer is not None:
            found.append(f"a backward hook on the module {module or '(the model itself)'!r} ({_place(hook)}) answers")
        return answer

    return watching


def _changes(hook: Any, tensor: Tensor) -> bool:
    """Whether a hook answers another gradient than it is given; one that cannot be tried is taken to."""
    gradient = torch.linspace(0.5, 1.5, tensor.numel(), dtype=tensor.dtype).reshape(tensor.shape)
    try:
        answer = hook(gradient.clone())
    except Exception:  # whatever a user's hook raises
        return True
    return answer is not None and not torch.equal(answer, gradient)


def _custom_functions(output: Tensor) -> Iterator[str]:
    """The functions with a backward of their own that an output was computed by."""
    waiting: list[Any] = [output.grad_fn]
    seen: set[Any] = {None}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, BackwardCFunction):
            function: Any = type(node)._forward_cls  # type: ignore[attr-defined]
            if not function.__module__.startswith(
                "torch."
            ):  # torch's own: control flow, the places of hooks on modules
                yield function.__qualname__
        waiting.extend(before for before, _ in node.next_functions)


def _place(hook: Any) -> str:
    """Where somebody finds a hook."""
    code = getattr(hook, "__code__", None)
    name = getattr(hook, "__qualname__", type(hook).__name__)
    return f"{name}, line {code.co_firstlineno} of {code.co_filename}" if code is not None else str(name)


def _refusal(what: str) -> ModelError:
    return ModelError(
        f"the model changes gradients by itself, which an export cannot keep: {what}. Leave it out for tracing, or say "
        "the same with detach() and torch.where, which are kept."
    )
