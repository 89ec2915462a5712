"""Adapters of peft: trained beside a base model that lies in another folder."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from gradtrace.exporters.models import ModelError
from gradtrace.pipeline.dump.hugging_face.opening import open_hugging_face

from ....exporters.torch_export.shown_models import show
from .conftest import Folders
from .test_weights import Executed, refusal

LORA = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["c_attn"], "lora_alpha": 4}
TEXT = "the cat sleeps"


def settings(path: Path, **changed: Any) -> None:
    """Write or rewrite the adapter_config.json in `path`."""
    file = path / "adapter_config.json"
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**before, **changed}))


@pytest.fixture
def adapter(untouched: Folders, tmp_path: Path) -> Path:
    """A folder of LoRA in GPT-2's attention, whose numbers matter, beside its base model's."""
    shutil.copytree(untouched("gpt2"), tmp_path / "base")
    path = tmp_path / "adapter"
    path.mkdir()
    settings(path, **LORA, base_model_name_or_path="../base")
    torch.manual_seed(1)
    sizes = {"lora_A": (2, 16), "lora_B": (48, 2)}
    names = {f"base_model.model.transformer.h.{n}.attn.c_attn.{part}.weight": part for n in (0, 1) for part in sizes}
    save_file({name: torch.randn(sizes[part]) for name, part in names.items()}, path / "adapter_model.safetensors")
    return path


def test_an_adapter_upon_its_base_model(adapter: Path, untouched: Folders) -> None:
    """The loss is that of the base model with B·A·(alpha/r) added to the weights; both keep their parameters."""
    pytest.importorskip("peft")
    opened, base = open_hugging_face(adapter), open_hugging_face(untouched("gpt2"))
    inputs = opened.encode(TEXT).inputs
    tensors = load_file(adapter / "adapter_model.safetensors")
    with torch.no_grad():
        for number, layer in enumerate(base.model.transformer.h):
            a, b = (tensors[f"base_model.model.transformer.h.{number}.attn.c_attn.lora_{part}.weight"] for part in "AB")
            layer.attn.c_attn.weight += 2.0 * (b @ a).T
        assert float(opened.model(**inputs)) == pytest.approx(float(base.model(**inputs)), rel=1e-5)
    names = [name for name, _ in opened.model.named_parameters()]
    assert sum("lora_A" in name for name in names) == sum("lora_B" in name for name in names) == 2
    assert len(names) == 4 + len(list(base.model.parameters()))


@pytest.mark.slow
def test_an_adapter_is_recorded(adapter: Path) -> None:
    """With the gradients of peft's own model, on texts of two lengths."""
    pytest.importorskip("peft")
    traceable = open_hugging_face(adapter)
    samples = [traceable.encode(line) for line in (TEXT, "the old dog sees a small cat")]
    shown = show(traceable.model, [s.inputs for s in samples], torch.float64, [len(s.tokens) for s in samples])
    names = {t.name for t in shown.recordings[0].tape.tensors if t.kind == "parameter"}
    assert names == {name for name, _ in traceable.model.named_parameters()}


def test_the_tokenizer_of_the_adapter_comes_first(adapter: Path) -> None:
    pytest.importorskip("peft")
    assert open_hugging_face(adapter).encode(TEXT).tokens == ["the", "cat", "sleeps"]
    for file in (adapter.parent / "base").glob("tokenizer*"):
        shutil.move(file, adapter)
    assert open_hugging_face(adapter).encode(TEXT).tokens == ["the", "cat", "sleeps"]


def test_without_peft(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ModelError, match=r"pip install gradtrace\[peft\].*merge_and_unload"):
        open_hugging_face(adapter)


@pytest.mark.parametrize("base", [None, "gpt2", "../elsewhere", ["x"]])
def test_a_base_model_that_is_not_here(adapter: Path, base: object) -> None:
    settings(adapter, base_model_name_or_path=base)
    assert "which is no folder of save_pretrained here" in refusal(adapter)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"megatron_config": {"x": 1}, "megatron_core": "antigravity"}, "names modules to import"),
        ({"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2}, "of type PROMPT_TUNING, whose trained tokens"),
        ({"peft_type": "NONSENSE"}, "cannot be loaded by peft"),
        ({"target_modules": ["absent"]}, "cannot be loaded by peft"),
        (
            {"target_modules": ["c_attn", "c_fc"]},
            "lacks 4 tensors (base_model.model.transformer.h.0.mlp.c_fc.lora_A.weig",
        ),
        ({"r": 3}, "cannot be loaded by peft"),
    ],
)
def test_adapters_that_are_refused(adapter: Path, changed: dict[str, Any], message: str) -> None:
    pytest.importorskip("peft")
    settings(adapter, **changed)
    assert message in refusal(adapter)


def test_files_of_adapters_that_are_not_whole(adapter: Path) -> None:
    pytest.importorskip("peft")
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    save_file({name: x for name, x in tensors.items() if "h.1." not in name}, file)
    assert "lacks 2 tensors (base_model.model.transformer.h.1.attn.c_attn.lora_A.weight" in refusal(adapter)
    extra = {name.replace("h.1.", "h.7."): x.clone() for name, x in tensors.items()}
    save_file({**tensors, **extra}, file)
    assert "has 2 tensors (base_model.model.transformer.h.7.attn.c_attn.lora_A.weight" in refusal(adapter)
    file.write_bytes(file.read_bytes()[:-50])
    assert "cannot be loaded by peft" in refusal(adapter)
    file.unlink()
    assert "cannot be loaded by peft" in refusal(adapter)


def test_pickled_adapters_execute_nothing(adapter: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({"x": Executed(tmp_path / "executed")}, adapter / "adapter_model.bin")
    assert "cannot be loaded by peft" in refusal(adapter)
    assert not (tmp_path / "executed").exists()
