"""What a folder's config.json says is believed, and nothing of the folder is executed."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gradtrace.exporters.models import ModelError
from gradtrace.pipeline.dump.hugging_face.opening import open_hugging_face

from .conftest import Folders


def change(path: Path, **settings: Any) -> None:
    """Rewrite the config.json in `path`."""
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def test_without_transformers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install gradtrace\[hf\]"):
        open_hugging_face(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "holds no config.json"),
        ("{", r"config.json cannot be read as JSON \(JSONDecodeError\)"),
        ("[" * 10**5, r"config.json cannot be read as JSON \(RecursionError\)"),
        ("[1]", "is no JSON object but list"),
        ('{"architectures": null}', '"architectures" is null; a list of one class is wanted$'),
        ('{"architectures": []}', r'"architectures" is \[\]; a list'),
        ('{"architectures": [7]}', r'"architectures" is \[7\]; a list'),
        ('{"model_type": "gpt2"}', r'is null; a list of one class is wanted, such as .*\["GPT2LMHeadModel"\]$'),
        ('{"architectures": ["ViTForImageClassification"]}', "ViTForImageClassification; a causal, masked or"),
        ('{"architectures": ["WhisperForConditionalGeneration"]}', "which reads sound"),
        (
            '{"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "gptq"}}',
            r"quantised \(gptq",
        ),
        ('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}', "cannot be loaded by transformers: OSError"),
        ('{"architectures": ["GPT2LMHeadModel"], "n_layer": "many"}', "cannot be loaded by transformers"),
    ],
)
def test_other_folders(tmp_path: Path, config: str | None, message: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ModelError, match=message) as raised:
        open_hugging_face(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.fixture
def traps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that the code of a folder would make; who asks for an answer fails."""

    def ask(question: str = "") -> str:
        raise AssertionError(f"asked: {question}")

    monkeypatch.setattr(builtins, "input", ask)
    return tmp_path / "executed"


CODE = "from pathlib import Path\nPath({path!r}).write_text('')\n"


def test_a_folder_with_code_of_its_own_is_refused(copied: Folders, traps: Path) -> None:
    path = copied("gpt2")
    (path / "modeling_mine.py").write_text(CODE.format(path=str(traps)))
    change(
        path, architectures=["MineForCausalLM"], model_type="mine", auto_map={"AutoModelForCausalLM": "modeling_mine.M"}
    )
    with pytest.raises(
        ModelError, match=r"holds MineForCausalLM, which .* code of a folder is never run.*file.py:factory"
    ):
        open_hugging_face(path)
    assert not traps.exists()


def test_code_beside_a_class_of_transformers_is_left_alone(copied: Folders, traps: Path) -> None:
    """So do the folders of Falcon and Phi have it."""
    path = copied("gpt2")
    for name in ("modeling_mine", "configuration_mine", "tokenization_mine"):
        (path / f"{name}.py").write_text(CODE.format(path=str(traps)))
    change(path, auto_map={"AutoConfig": "configuration_mine.C", "AutoModelForCausalLM": "modeling_mine.M"})
    (path / "custom_generate").mkdir()
    (path / "custom_generate" / "generate.py").write_text(CODE.format(path=str(traps)))
    assert open_hugging_face(path).encode("the cat").tokens == ["the", "cat"]
    assert not traps.exists()


def test_a_tokenizer_with_code_of_its_own_is_refused(copied: Folders, traps: Path) -> None:
    path = copied("gpt2")
    (path / "tokenization_mine.py").write_text(CODE.format(path=str(traps)))
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Mine", "auto_map": {"AutoTokenizer": ["tokenization_mine.Mine", None]}}
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    (path / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"holds no tokenizer \(transformers "):
        open_hugging_face(path)
    assert not traps.exists()


@pytest.mark.parametrize("model", ["gpt2", "llama", "bert", "marian", "t5"])
def test_without_a_tokenizer(copied: Folders, model: str) -> None:
    """For some classes transformers makes up an empty one."""
    path = copied(model)
    for file in path.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match=r"holds no tokenizer .*tokenizer\.save_pretrained") as raised:
        open_hugging_face(path)
    assert "\n" not in str(raised.value)
