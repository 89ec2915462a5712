"""Cases whose operator ONNX's reference does not run, or not in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch

from ..operators.operator_cases import Array, Case


@dataclass(frozen=True)
class Foreign(Case):
    """An operator that ONNX does not define (domain.Operator), or whose reference there computes in float32 or fails.

    Its formula is the reference for values, too.
    """

    def model(self) -> onnx.ModelProto:
        made = super().model()
        for node in made.graph.node:
            node.domain, _, node.op_type = node.op_type.rpartition(".")
        return made

    def expected(self, **changed: Array) -> list[Array]:
        assert self.formula is not None
        given = [None if x is None else torch.from_numpy(changed.get(f"x{i}", x)) for i, x in enumerate(self.inputs)]
        found = self.formula(*given)
        return [y.numpy() for y in (found if isinstance(found, list) else [found])]


def foreign(op_type: str, inputs: Sequence[Array], formula: Any, opset: int = 20, **attributes: Any) -> Foreign:
    """See Foreign."""
    return Foreign(op_type, tuple(inputs), formula, attributes, opset=opset)
