"""Folding costs time for each operator, not for each pair of them."""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

import gradtrace as gt
from gradtrace.exporters.torch_export import folding


def test_no_rule_looks_at_the_whole_graph_for_every_operator() -> None:
    """As the rewriter does for patterns with several outputs."""
    assert len(folding._RULES) > 20
    assert all(rule._matcher.pattern.has_single_output_node for rule in folding._RULES)  # type: ignore[attr-defined]


class Chain(nn.Module):
    """More layers than Python allows calls in each other, were any part recursive."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scales = nn.Parameter(torch.linspace(0.9, 1.1, layers))

    def forward(self, x: Tensor) -> Tensor:
        for scale in self.scales.unbind():
            x = torch.tanh(x * scale)
        return x.sum()


def test_a_chain_deeper_than_the_recursion_limit() -> None:
    layers = sys.getrecursionlimit() // 2 + 50  # two operators each
    recording = gt.record(Chain(layers), {"x": torch.full((1, 1), 0.5)})
    assert recording.gradient("scales").shape == (layers,)
    assert recording.gradient("scales").all()
