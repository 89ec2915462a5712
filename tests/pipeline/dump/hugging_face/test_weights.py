"""Every number of a model comes from its folder, or the folder is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

from gradtrace.exporters.models import ModelError
from gradtrace.pipeline.dump.hugging_face.opening import open_hugging_face

from ....coverage.folders import GPT, VOCABULARY, save_family
from .conftest import Folders
from .test_folder import change

State = dict[str, Tensor]


def rewrite(path: Path, changed: Callable[[State], State]) -> None:
    """Save other weights into `path`."""
    file = path / "model.safetensors"
    save_file({n: x.clone() for n, x in changed(load_file(file)).items()}, file, {"format": "pt"})


def without(*parts: str) -> Callable[[State], State]:
    return lambda state: {n: x for n, x in state.items() if not any(part in n for part in parts)}


def refusal(path: Path) -> str:
    """The one line that says why the folder is refused."""
    with pytest.raises(ModelError) as raised:
        open_hugging_face(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("model", "changed", "expected"),
    [
        ("gpt2", without("h.1.mlp.c_fc.bias"), "lacks the tensor (transformer.h.1.mlp.c_fc.bias), which"),
        ("gpt2", without("h.1."), "lacks 12 tensors (transformer.h.1.attn.c_attn.bias, transformer.h.1.attn.c_attn.we"),
        ("llama", without("lm_head"), "lacks the tensor (lm_head.weight)"),
        ("gpt2", lambda x: {f"module.{n}": v for n, v in x.items()}, "begin with 'module.'"),
        ("bert", lambda x: {f"module.{n}": v for n, v in x.items()}, "begin with 'module.'"),
        ("t5", lambda x: {f"net.inner.{n}": v for n, v in x.items()}, "begin with 'net.inner.'"),
        (
            "gpt2",
            lambda x: {n: v[:9] if "wpe" in n else v for n, v in x.items()},
            "transformer.wpe.weight is 9x16, and 32x16 is wanted",
        ),
        (
            "gpt2",
            lambda x: {**x, "transformer.h.2.ln_1.bias": torch.zeros(16)},
            "has the tensor (transformer.h.2.ln_1.b",
        ),
        ("llama", lambda x: {**x, "lm_head.bias": torch.zeros(24)}, "has the tensor (lm_head.bias), for which"),
        ("bert", lambda x: {**x, "bert.encoder.layer.0.attention.self.rotary.weight": torch.ones(2)}, "has the tensor"),
    ],
)
def test_what_does_not_fit_is_named(
    copied: Folders, model: str, changed: Callable[[State], State], expected: str
) -> None:
    path = copied(model)
    rewrite(path, changed)
    assert expected in refusal(path)


def test_tensors_that_may_be_missing_or_left_out(copied: Folders, untouched: Folders) -> None:
    """Tied weights stand in the file once; BERT's pooler and its old buffers are no part of the masked model."""
    path = copied("bert")
    rewrite(path, without("decoder.weight"))
    extra = {"bert.pooler.dense.weight": torch.ones(16, 16), "cls.seq_relationship.bias": torch.ones(2)}
    rewrite(path, lambda x: {**x, **extra, "bert.embeddings.position_ids": torch.arange(32)[None]})
    found, wanted = (open_hugging_face(p).model.state_dict() for p in (path, untouched("bert")))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_becomes_float32_exactly(copied: Folders, dtype: torch.dtype) -> None:
    path = copied("gpt2")
    rewrite(path, lambda x: {n: v.to(dtype) for n, v in x.items()})
    change(path, dtype=str(dtype).removeprefix("torch."))
    stored, loaded = load_file(path / "model.safetensors"), open_hugging_face(path).model.state_dict()
    assert all(torch.equal(loaded[name], x.to(torch.float32)) for name, x in stored.items())
    assert {x.dtype for x in loaded.values()} == {torch.float32}


def test_files_of_weights_that_are_damaged(copied: Folders) -> None:
    path = copied("gpt2")
    whole = (path / "model.safetensors").read_bytes()
    for part in (b"", whole[:5], whole[:-100], b"\xff" * 64):
        (path / "model.safetensors").write_bytes(part)
        assert "cannot be loaded by transformers: " in refusal(path)


def test_a_missing_shard(tmp_path: Path, copied: Folders) -> None:
    path = copied("gpt2")
    (path / "model.safetensors").unlink()
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT, **VOCABULARY))
    model.save_pretrained(path, max_shard_size="8KB")
    shards = sorted(path.glob("model-*.safetensors"))
    assert len(shards) > 2
    assert torch.equal(open_hugging_face(path).model.transformer.wte.weight, model.transformer.wte.weight)
    shards[1].rename(tmp_path / "elsewhere")
    assert "cannot be loaded by transformers: " in refusal(path)


def test_a_shard_that_the_index_leaves_out(copied: Folders) -> None:
    path = copied("gpt2")
    (path / "model.safetensors").unlink()
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT, **VOCABULARY))
    model.save_pretrained(path, max_shard_size="8KB")
    index = json.loads((path / "model.safetensors.index.json").read_text())
    last = max(index["weight_map"].values())
    index["weight_map"] = {name: file for name, file in index["weight_map"].items() if file != last}
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert " lacks " in refusal(path)


class Executed:
    """Pickled, it makes a file as it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_pickled_weights_execute_nothing(copied: Folders, tmp_path: Path) -> None:
    path = copied("gpt2")
    state = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    torch.save(state, path / "pytorch_model.bin")
    loaded = open_hugging_face(path).model.state_dict()
    assert all(torch.equal(loaded[name], x) for name, x in state.items())
    trap = tmp_path / "executed"
    torch.save({**state, "transformer.wte.weight": Executed(trap)}, path / "pytorch_model.bin")
    assert "cannot be loaded by transformers: UnpicklingError" in refusal(path)
    (path / "pytorch_model.bin").write_bytes(pickle.dumps({"transformer.wte.weight": Executed(trap)}))
    assert "cannot be loaded by transformers: " in refusal(path)
    assert not trap.exists()


def test_loading_says_nothing(untouched: Folders, capfd: pytest.CaptureFixture[str]) -> None:
    open_hugging_face(untouched("gpt2"))
    assert capfd.readouterr() == ("", "")


def test_a_derivative_that_a_class_writes_out_is_torchs(tmp_path: Path) -> None:
    """BLOOM's, whose own is exact to ten digits."""
    settings = {"hidden_size": 16, "n_layer": 1, "n_head": 2}
    given = save_family(tmp_path, "BloomForCausalLM", settings).double()
    traceable = open_hugging_face(tmp_path)
    inputs = traceable.encode("the cat sleeps").inputs
    found = torch.autograd.grad(
        traceable.model.double()(**inputs), traceable.model.transformer.h[0].mlp.dense_h_to_4h.weight
    )
    logits = given(input_ids=inputs["input_ids"]).logits
    loss = torch.nn.functional.cross_entropy(logits[0], inputs["labels"][0])
    wanted = torch.autograd.grad(loss, given.transformer.h[0].mlp.dense_h_to_4h.weight)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-7)
