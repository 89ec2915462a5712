"""Models as users bring them: the good are traced whatever the length, the bad are refused in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from gradtrace.exporters.models import ModelError, SampleError
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.models import open_model, open_traceable
from gradtrace.pipeline.dump.samples import read_samples
from gradtrace.queries import Store, open_store

from ..studies import assert_one_line_error, gradtrace, rows, write_lines

FILE = Path(__file__).with_name("models_of_users.py")
LENGTHS = ("the cat sees", "a", "a bird in the garden", "x y")
ALL = Settings("all", "float64")


def store_of(factory: str, folder: Path, *lines: str) -> Store:
    """The samples in a store of every edge, float64, all of whose claims hold."""
    model = open_model(f"{FILE}:{factory}", "float64")
    samples = read_samples(write_lines(folder / "s.txt", *lines), model.encode)
    summary = dump(model.traced, samples, folder / "store", ALL)
    assert summary.failed == []
    store = open_store(folder / "store")
    assert [check for check in store.verify() if not check.ok] == []
    return store


def parameters(store: Store) -> dict[str, list[int]]:
    """The shapes of the parameters."""
    found = store.rows("select name, shape from tensors where kind = 'parameter' and graph = 0")
    return {row["name"]: row["shape"] for row in found.to_pylist()}


@pytest.mark.parametrize(
    "factory",
    [
        *("gru", "frozen"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("cells", "bidirectional", "bidirectional_relu")),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("one_by_one", "unused", "logit_difference")),
    ],
)
def test_lengths_in_any_order(tmp_path: Path, factory: str) -> None:
    with store_of(factory, tmp_path, *LENGTHS) as store:
        shapes = {name: list(x.shape) for name, x in open_traceable(f"{FILE}:{factory}").model.state_dict().items()}
        expected = {name: shape for name, shape in shapes.items() if not name.startswith("spare")}
        assert parameters(store) == expected
        assert store.rows("select count(distinct graph) as n from samples")["n"].to_pylist() == [len(LENGTHS)]
        worst = store.rows("select max(conservation_error) as worst from graphs")["worst"].to_pylist()
        assert worst[0] < 1e-9
        (last,) = list(expected)[-1:]
        index = ",".join("0" for _ in expected[last])
        assert store.trace(f"{last}[{index}]", sample=2).end in ("loss", "dead", "absent")
        ((traced, lost),) = store.sql(
            "select sum(traced), sum(parameters - traced - dead - absent) from path_totals"
        ).fetchall()
        assert traced > 0
        assert lost == 0


def test_gradients_in_the_store_are_torchs(tmp_path: Path) -> None:
    """Of the model as it was given, on every sample, a frozen parameter among them."""
    with store_of("frozen", tmp_path, *LENGTHS) as store:
        traceable = open_traceable(f"{FILE}:frozen")
        model = traceable.model.double().requires_grad_()
        for number, line in enumerate(LENGTHS):
            model.zero_grad()
            loss = model(**traceable.encode(line).inputs)
            loss.backward()
            for name, parameter in model.named_parameters():
                found = store.rows(
                    "select vertex - first_vertex as i, gradient from vertices join tensors using (graph, tensor) "
                    "where sample = ? and name = ?",
                    [number, name],
                )
                wanted = torch.zeros(parameter.numel(), dtype=torch.float64)
                wanted[found["i"].to_pylist()] = torch.tensor(found["gradient"].to_pylist(), dtype=torch.float64)
                assert parameter.grad is not None
                torch.testing.assert_close(wanted.reshape(parameter.shape), parameter.grad, rtol=1e-9, atol=1e-15)


def test_tied_weights_have_both_names(tmp_path: Path) -> None:
    with store_of("tied", tmp_path, *LENGTHS) as store:
        assert len(parameters(store)) == 2
        paths = [store.trace(f"{name}[3,2]") for name in ("embedding.weight", "decoder.weight")]
        assert paths[0].hops == paths[1].hops
        assert paths[0].end == "loss"


@pytest.mark.slow
def test_an_initial_state_given_as_inputs(tmp_path: Path) -> None:
    """Floating-point inputs are vertices, with gradients and paths."""
    with store_of("with_state", tmp_path, "abc", "a", "abcde") as store:
        inputs = store.rows("select name, shape from tensors where kind = 'input' and graph = 0 order by tensor")
        assert inputs.to_pylist() == [
            {"name": "x", "shape": [1, 3, 3]}, {"name": "h", "shape": [1, 1, 4]}, {"name": "c", "shape": [1, 1, 4]}
        ]  # fmt: skip
        path = store.trace("h[0,0,2]", sample=1)
        assert path.end == "loss"
        assert path.hops[0]["gradient"] != 0
        assert path.hops[1]["step"] == 0


def test_steps_carry_their_words(tmp_path: Path) -> None:
    with store_of("gru", tmp_path, "the cat sees") as store:
        hops = store.trace("gru.weight_hh_l0[7,0]").hops
        words = {hop["step"]: hop["token"] for hop in hops if hop["step"] is not None}
        assert words
        assert words.items() <= dict(enumerate(["the", "cat", "sees"])).items()


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("vector", ("a tensor of shape (1, 3)", "one floating-point scalar is wanted, such as a loss")),
        ("integer", ("a tensor of shape () and torch.int64", "one floating-point scalar is wanted")),
        ("detached", ("a scalar that does not depend on the parameters", "wanted")),
        ("several", ("returned a tuple", "wanted")),
        ("one_weight", ("the model's output does not depend on its parameters through any operator",)),
        ("spectrum", ("no rule for operator DFT", "in module '(the model itself)'", "exporters/operators/")),
        ("inner_spectrum", ("no rule for operator DFT", "in module 'inner'", "exporters/lowering/")),
        ("dropout", ("for the same sample", "dropout outside nn.Dropout", "in eval mode")),
        ("missing", (f"{FILE} has no function 'missing'; it has encode, ",)),
        ("not_callable", (f"{FILE} has no function 'not_callable'",)),
        ("raising", (f"{FILE}:raising failed: KeyError: 'weights' (models_of_users.py, line ",)),
        ("returning_a_module", ("returned Linear; a gradtrace.Traceable(model, encode) is wanted",)),
        ("encode", (f"{FILE}:encode failed: TypeError: encode() missing 1 required positional argument",)),
    ],
)
def test_models_that_are_refused(tmp_path: Path, factory: str, words: tuple[str, ...]) -> None:
    samples = write_lines(tmp_path / "s.txt", "the cat sees")
    out = tmp_path / "store"
    assert_one_line_error(gradtrace("dump", f"{FILE}:{factory}", "--samples", samples, "--out", out), *words)
    assert not out.exists()


@pytest.mark.parametrize("factory", ["asserting", "looking_up"])
def test_a_forward_that_raises_on_one_sample(tmp_path: Path, factory: str) -> None:
    samples = write_lines(tmp_path / "s.txt", "the cat sees", "a")
    ran = gradtrace("dump", f"{FILE}:{factory}", "--samples", samples, "--out", tmp_path / "store")
    assert ran.code == 1
    assert "sample 1 is invalid: the model's forward failed on this sample: " in ran.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def build(:\n", r"cannot be imported: SyntaxError: invalid syntax \(.*, line \d+\)"),
        ("import nothing_of_this_name\n", "cannot be imported: ModuleNotFoundError: No module named 'nothing_of"),
        ("1 / 0\n", r"cannot be imported: ZeroDivisionError: division by zero \(mine.py, line 1\)"),
        ("", "has no function 'build'; it has none"),
    ],
)
def test_files_that_cannot_be_imported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ModelError, match=message):
        open_traceable(f"{tmp_path / 'mine.py'}:build")


@pytest.mark.parametrize("model", ["nothing", "mine.py", "mine.py:build", "model.onnx", "mine.txt:build", ":", ""])
def test_what_is_no_model(tmp_path: Path, model: str) -> None:
    samples = write_lines(tmp_path / "s.txt", "the cat")
    assert_one_line_error(
        gradtrace("dump", model, "--samples", samples, "--out", tmp_path / "store"), model.split(":")[0]
    )


def test_a_checkpoint_for_a_factory() -> None:
    with pytest.raises(ModelError, match=r"--checkpoint was given, but .*:gru takes no argument"):
        open_traceable(f"{FILE}:gru", "last.pt")


def test_files_called_like_our_packages(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text(f"import sys\nsys.path.append({str(FILE.parent)!r})\nSEED = 7\n")
    (tmp_path / "queries.py").write_text("raise RuntimeError('imported in place of ours')\n")
    (tmp_path / "pipeline.py").write_text("from helpers import SEED\nfrom models_of_users import gru as build\n")
    (tmp_path / "exporters").mkdir()
    samples = write_lines(tmp_path / "s.txt", "the cat sees")
    ran = gradtrace("dump", f"{tmp_path / 'pipeline.py'}:build", "--samples", samples, "--out", tmp_path / "store")
    assert ran.code == 0, ran.err
    assert gradtrace("info", tmp_path / "store").code == 0
    assert not {"queries", "pipeline", "exporters"} & set(sys.modules)
    for module in ("helpers", "models_of_users"):
        sys.modules.pop(module)
    sys.path.remove(str(tmp_path))
    sys.path.remove(str(FILE.parent))


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another framework: loss = sum(tanh(x W)^2), x of 1 x T x 2."""
    helper = onnx.helper
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("Tanh", ["product"], ["bounded"]),
        helper.make_node("Mul", ["bounded", "bounded"], ["squares"]),
        helper.make_node("ReduceSum", ["squares"], ["loss"], keepdims=0),
    ]
    w = helper.make_tensor("w", onnx.TensorProto.FLOAT, [2, 3], [0.1, -0.2, 0.3, 0.4, -0.5, 0.6])
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, "T", 2])
    loss = helper.make_tensor_value_info("loss", onnx.TensorProto.FLOAT, [])
    graph = helper.make_graph(nodes, "bare", [x], [loss], [w])
    path = tmp_path_factory.mktemp("onnx") / "bare.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_a_bare_onnx_file(onnx_file: Path, tmp_path: Path) -> None:
    inputs: list[dict[str, Any]] = [
        {"x": [[[1.0, 2.0]]], "text": "one", "tokens": ["a"]},
        {"x": [[[1.0, 2.0], [0.5, -1.0], [0, 0]]]},
        {"x": [[1.0, 2.0]]},
        {"y": [[[1.0, 2.0]]]},
        {"x": [[[1.0, 2.0, 3.0]]]},
    ]
    samples = write_lines(tmp_path / "s.jsonl", *map(json.dumps, inputs))
    out = tmp_path / "store"
    ran = gradtrace("dump", onnx_file, "--samples", samples, "--out", out, "--detail", "all", "--dtype", "float64")
    found = rows(out, "samples").to_pylist()
    assert ran.code == 1
    assert [row["status"] for row in found] == ["ok", "ok", "invalid", "invalid", "invalid"]
    assert "input 'x' has shape (1, 2), the model wants [1, 'T', 2]" in ran.err
    assert "the sample has inputs ['y'], the model wants ['x']" in ran.err
    with open_store(out) as store:
        assert [check for check in store.verify() if not check.ok] == []
        gradient = store.rows("select sum(gradient) as g from vertices join tensors using (graph, tensor) "
                              "where sample = 1 and name = 'w'")  # fmt: skip
    x = torch.tensor(inputs[1]["x"], dtype=torch.float64)
    w = torch.tensor([[0.1, -0.2, 0.3], [0.4, -0.5, 0.6]]).double().requires_grad_()  # float32 first, as in the file
    (x @ w).tanh().square().sum().backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None
    assert gradient["g"].to_pylist() == [pytest.approx(float(w.grad.sum()), rel=1e-12)]


def test_whole_numbers_in_json_are_floats_where_the_model_wants_floats(onnx_file: Path, tmp_path: Path) -> None:
    samples = read_samples(write_lines(tmp_path / "s.jsonl", '{"x": [[[1, 2]]]}'), None)
    summary = dump(open_model(str(onnx_file), "float64").traced, samples, tmp_path / "store", ALL)
    assert summary.failed == []


def test_an_onnx_file_has_no_encoder(onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SampleError, match=r"the model has no encoder for text; give its inputs as .jsonl or .npz"):
        read_samples(write_lines(tmp_path / "s.txt", "the cat"), open_model(str(onnx_file), "float32").encode)


def test_a_damaged_onnx_file(onnx_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(onnx_file.read_bytes()[:-20])
    with pytest.raises(ModelError, match="cannot be read as ONNX"):
        open_model(str(path), "float32")
