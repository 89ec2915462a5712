"""Models made to do harm: each is one line, none ends in a traceback, none never ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from gradtrace.exporters.lowering import control_flow
from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.exporters.onnx_graph import functions, limits
from gradtrace.exporters.onnx_graph.limits import available_memory, memory_limited
from gradtrace.exporters.recording.onnx_model import OnnxModel

from .hostile_models import CASES, GIVEN, GOOD, YES, body, call, function, looped, node, summed, write

ROOT = Path(__file__).parents[3]
LONGEST = 240  # seconds for all of them, on a machine that has other things to do

# What keeps to ONNX although it looks odd, with the loss that it has.
HARMLESS = {
    "nodes_of_one_name": 1.9633569717407227,
    "control_characters": 1.9633569717407227,
    "named_nan": 1.9633569717407227,
    "long_name": 1.9633569717407227,
    "name_scopes_that_are_code": 1.9633569717407227,
    "name_scopes_that_are_deep": 1.9633569717407227,
    "name_scopes_that_are_a_number": 1.9633569717407227,
    "booleans_as_numbers": 7.0,
    "tensor_of_nan": float("nan"),
    "data_in_itself": 0.9998225569725037,
    "loop_of_less_than_none": 6.0,
    "function_in_place_of_an_operator": 6.0,
}
SAID = {
    "empty_file": "model.onnx is empty",
    "text_file": "cannot be read as ONNX",
    "cycle": "topologically sorted",
    "missing_initializer": "'w'",
    "output_of_integers": "one floating-point scalar is wanted",
    "opset_of_tomorrow": "opset",
    "data_in_passwd": "/etc/passwd",
    "tile_to_terabytes": "operator Tile 'y': it takes more memory than there is: 80,000,000,000,000 bytes",
    "expand_to_terabytes": "it takes more memory than there is",
    "loop_without_an_end": "operator Loop has run 2,000 times on this sample, which is the limit",
    "loop_in_loops": "operator Loop has run 2,000 times on this sample, which is the limit",
    "billion_laughs": "become 1,099,511,627,778 nodes; at most 1,000,000 are wanted",
    "sparse_initializer": "is sparse",
    "texts_as_numbers": "texts",
    "cast_to_texts": "texts",
    "input_of_complex_numbers": "complex numbers",
    "split_into_more_than_there_is": "parts of the sizes [3, -4, 99] were asked of an axis of size 5",
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each case ends with, found in a process of its own: it may be ended by a case, or never end."""
    folder = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tests.exporters.onnx_graph.hostile_models", str(folder)]
    with (folder / "said").open("w+") as said:
        with suppress(subprocess.TimeoutExpired):  # the last case has no outcome then
            subprocess.run(command, cwd=ROOT, stdout=said, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=LONGEST)
        said.seek(0)
        lines = [json.loads(line) for line in said]
    return dict(zip(lines[::2], lines[1::2], strict=False))


def test_there_are_enough_of_them() -> None:
    assert len(CASES) > 91 + len(HARMLESS)
    assert CASES.keys() >= HARMLESS.keys() | SAID.keys()


@pytest.mark.parametrize("name", CASES)
def test_one_line(outcomes: dict[str, list[str]], name: str) -> None:
    assert name in outcomes, "the process ended, or did not"
    kind, said = outcomes[name]
    if name in HARMLESS:
        assert kind == ""
        assert float(said) == pytest.approx(HARMLESS[name], nan_ok=True)
        return
    assert kind in ("ModelError", "SampleError"), said
    assert said.count("\n") == 0
    assert SAID.get(name, "") in said


def test_the_good_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(GOOD.SerializeToString())
    assert OnnxModel(path, torch.float64).record(GIVEN).loss == pytest.approx(1.9633569717407227)


# Limits


def test_a_loop_within_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_flow, "MOST_ITERATIONS", 5)
    path = tmp_path / "model.onnx"
    halved = body(YES, node("Mul", ["s", "half"], ["s2"]))
    for times in (5, 6):
        made = looped(halved, times)
        made.graph.initializer.append(onnx.numpy_helper.from_array(torch.tensor(0.5).numpy(), "half"))
        path.write_bytes(made.SerializeToString())
        if times == 5:
            assert OnnxModel(path, torch.float64).record(GIVEN).loss == pytest.approx(6 / 32)
        else:
            with pytest.raises(SampleError, match="operator Loop has run 5 times on this sample, which is the limit"):
                OnnxModel(path, torch.float64).record(GIVEN)


def test_functions_within_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four levels, each of two calls of the next, are sixteen nodes; beside them are the product and the sum."""
    last = function("F4", node("Neg", ["a"], ["b"]))
    others = [function(f"F{i}", call(f"F{i + 1}", "a", "c"), call(f"F{i + 1}", "c", "b")) for i in range(4)]
    made = summed(call("F0", "z", "y"), functions=[*others, last], domains=["mine"])
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    monkeypatch.setattr(functions, "MOST_NODES", 18)
    assert OnnxModel(path, torch.float64).record(GIVEN).loss == pytest.approx(6)
    monkeypatch.setattr(functions, "MOST_NODES", 17)
    with pytest.raises(ModelError, match="become 18 nodes; at most 17 are wanted"):
        OnnxModel(path, torch.float64)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system cannot be told")
def test_memory_is_limited_while_a_model_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 << 20 < available_memory() < 1 << 50
    monkeypatch.setattr(limits, "available_memory", lambda: 300 << 20)
    with memory_limited(), pytest.raises(RuntimeError, match="can't allocate memory"):
        torch.empty(400 << 20, dtype=torch.uint8)
    with memory_limited():
        assert torch.empty(100 << 20, dtype=torch.uint8).numel() == 100 << 20
    assert torch.empty(400 << 20, dtype=torch.uint8).numel() == 400 << 20


@pytest.mark.parametrize(("limit", "used", "free"), [("1000", "400", 600), ("max", "400", 10**9), ("5", "400", 0)])
def test_memory_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, used: str, free: int
) -> None:
    files = [(str(tmp_path / "max"), str(tmp_path / "current")), ("no", "such")]
    monkeypatch.setattr(limits, "_CGROUPS", files)
    monkeypatch.setattr(limits, "_machine", lambda: 10**9)
    (tmp_path / "max").write_text(f"{limit}\n")
    (tmp_path / "current").write_text(f"{used}\n")
    assert available_memory() == free


# The commands


@pytest.mark.parametrize("name", ["cycle", "billion_laughs", "tile_to_terabytes", "control_characters", "empty_names"])
@pytest.mark.parametrize("command", [("dump",), ("dump", "--dry-run"), ("export",)])
def test_commands(tmp_path: Path, name: str, command: tuple[str, ...]) -> None:
    from ...pipeline.studies import assert_one_line_error, gradtrace

    path = write(name, tmp_path)
    (tmp_path / "s.jsonl").write_text('{"x": [[1, 2]]}\n')
    arguments: list[Any] = [
        command[0],
        path,
        "--samples",
        tmp_path / "s.jsonl",
        "--out",
        tmp_path / "out",
        *command[1:],
    ]
    ran = gradtrace(*arguments)
    if name in HARMLESS:
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.replace("\n", "").isprintable()
    else:
        assert_one_line_error(ran)
        assert not (tmp_path / "out").exists()
