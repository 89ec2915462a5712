"""Conservation judges rounding for what it is: tiny derivatives of functions that cancel are noisy."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  its usual name

import gradtrace as gt
from gradtrace.queries.schema import NOISE

from .test_verify_store import failures, rewrite

BROKEN = "edges: the contributions of every vertex sum"


class Tail(nn.Module):
    """GELUs at -15 to 3, some of transposed inputs, for which torch's kernels round in other ways."""

    def __init__(self, approximate: str) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.linspace(-15, 3, 400).reshape(50, 8))
        self.y = nn.Parameter(torch.linspace(-14, 2, 40).reshape(5, 8))
        self.approximate = approximate

    def forward(self, scale: Tensor) -> Tensor:
        first, second = (F.gelu(x.T, approximate=self.approximate) for x in (self.x, self.y))
        return (first * scale).sum() + 3 * second.square().sum() + F.mish(self.y).sum()


def _store(path: Path, approximate: str, dtype: str) -> Path:
    sample = {"scale": torch.ones(1)}
    return gt.dump(Tail(approximate), [sample], path / "s", detail="all", dtype=dtype).path  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_tails_of_gelu_conserve(tmp_path: Path, approximate: str, dtype: str) -> None:
    path = _store(tmp_path, approximate, dtype)
    assert failures(path) == []
    (error,) = pq.read_table(path / "graphs.parquet").column("conservation_error").to_pylist()
    assert error < (1e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("factor", [1.001, 0.0, -1.0, float("nan")])
def test_what_rounding_does_not_explain_is_found(tmp_path: Path, factor: float) -> None:
    """One derivative of a GELU changed, by a thousandth of what it is or more."""
    path = _store(tmp_path, "none", "float32")
    rewrite(path, "edges", lambda rows: rows[390].update(derivative=rows[390]["derivative"] * factor))
    assert [failure[: len(BROKEN)] for failure in failures(path) if failure.startswith("edges: the")] == [BROKEN]


def test_noise_is_allowed_where_derivatives_cancel_only(tmp_path: Path) -> None:
    """A derivative off by less than the noise of its target, at the tail of a GELU and at a product."""
    path = _store(tmp_path, "none", "float32")
    edges = pq.read_table(path / "edges/shard=00000/part-0.parquet").to_pydict()
    off = 0.5 * NOISE["float32"]
    assert off > 1e-3 * abs(edges["derivative"][0])  # far more than the tolerance of sums
    rewrite(path, "edges", lambda rows: rows[0].update(derivative=rows[0]["derivative"] + off))
    assert not [failure for failure in failures(path) if failure.startswith(BROKEN)]
