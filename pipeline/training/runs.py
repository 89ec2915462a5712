"""A training run on disk, and how to load a model from it.

RUN/
  config.json       format, versions, training configuration, facts about the corpus
  vocabulary.json   words and their numbers; of a pair, vocabulary.source.json and vocabulary.target.json
  held_out.txt      held-out samples, tokenised, one per line: for `gradtrace dump RUN`
  metrics.jsonl     one line per checkpoint: losses and held-out perplexity
  checkpoints/      step-000100.safetensors (the state_dict) and step-000100.json (its metrics)
  optimizer.safetensors   only while training is unfinished
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ...exporters.models import Encoded, ModelError, Traceable
from ...queries.manifest import replace_file
from ..corpora.corpora import Part
from ..corpora.vocabulary import Vocabulary, load_vocabulary
from ..zoo import LOSS, Task, family, make_hyperparameters

FORMAT = "gradtrace-run"
FORMAT_VERSION = 1

CONFIG = "config.json"
VOCABULARY = "vocabulary.json"
HELD_OUT = "held_out.txt"
METRICS = "metrics.jsonl"
OPTIMIZER = "optimizer.safetensors"
CHECKPOINTS = "checkpoints"

_CHECKPOINT = re.compile(r"step-(\d+)\.safetensors")


def is_run(folder: Path) -> bool:
    """Whether `folder` holds a training run, finished or not."""
    try:
        raw = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(raw, dict) and raw.get("format") == FORMAT


def read_config(folder: Path) -> dict[str, Any]:
    """What `config.json` of the run `folder` holds.

    Raises ModelError when `folder` is no run, a damaged one, or one from another version.
    """
    if not is_run(folder):
        what = f"has no {CONFIG} of a training run" if folder.is_dir() else "does not exist"
        raise ModelError(f"{folder} is not a training run: it {what}. Make one with `gradtrace train`.")
    raw: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    if raw.get("format_version") != FORMAT_VERSION:
        raise ModelError(
            f"{folder} has run format {raw.get('format_version')}; this gradtrace reads {FORMAT_VERSION}. "
            "Read it with the gradtrace that wrote it, or train again."
        )
    try:
        _ = raw["config"]["model"], raw["config"]["hyperparameters"], raw["corpus"]["fingerprint"]
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder / CONFIG} is damaged ({error!r}). Restore it, or train again.") from error
    return raw


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as JSON, atomically."""
    replace_file(path, (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode())


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named tensors to the safetensors file `path`, atomically. Tensors may share memory (tied weights)."""
    replace_file(path, save({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read what `save_tensors` wrote. Raises ModelError when the file cannot be read."""
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read ({error}). Use another checkpoint, or train again.") from error


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the run `folder` keeps the model after `step` updates."""
    return folder / CHECKPOINTS / f"step-{step:06d}.safetensors"


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps that the run `folder` has checkpoints of, ascending."""
    files = (folder / CHECKPOINTS).glob("step-*.safetensors")
    return sorted(int(match[1]) for file in files if (match := _CHECKPOINT.fullmatch(file.name)))


def find_checkpoint(folder: Path, checkpoint: str | None = None) -> Path:
    """The checkpoint file meant by `checkpoint`: a step (`100`), a name (`step-000100`) or a path; None is the latest.

    Raises ModelError, naming the checkpoints that exist, when there is none such.
    """
    steps = checkpoint_steps(folder)
    if not steps:
        raise ModelError(f"{folder} has no checkpoints yet. Run its `gradtrace train` command again to go on.")
    if checkpoint is None:
        return checkpoint_path(folder, steps[-1])
    step = re.fullmatch(r"(?:step-)?(\d+)(?:\.safetensors)?", checkpoint)
    if step and int(step[1]) in steps:
        return checkpoint_path(folder, int(step[1]))
    if Path(checkpoint).is_file():
        return Path(checkpoint)
    raise ModelError(f"{folder} has no checkpoint {checkpoint!r}. It has steps {', '.join(map(str, steps))}.")


def find_checkpoints(folder: Path, chosen: str) -> list[Path]:
    """Several checkpoint files of the run `folder`, in the order of their steps.

    chosen: `all`, or what `find_checkpoint` takes, several with commas between
    Raises ModelError as `find_checkpoint` does, and when one is chosen twice.
    """
    if chosen == "all":
        find_checkpoint(folder)  # says so when there are none
        return [checkpoint_path(folder, step) for step in checkpoint_steps(folder)]
    paths = [find_checkpoint(folder, name.strip()) for name in chosen.split(",")]
    twice = [path.stem for path in set(paths) if paths.count(path) > 1]
    if twice:
        raise ModelError(f"checkpoint {min(twice)} is chosen twice in {chosen!r}. Give every checkpoint once.")
    return sorted(paths, key=_training_step)


def _training_step(checkpoint: Path) -> tuple[float, str]:
    """Sorts checkpoints by their steps, files of another name behind them."""
    match = _CHECKPOINT.fullmatch(checkpoint.name)
    return (int(match[1]) if match else float("inf"), checkpoint.name)


def vocabulary_name(part: Part) -> str:
    """The file that the vocabulary of one part of a line is kept in."""
    return f"vocabulary.{part.name}.json" if part.name else VOCABULARY


def load_vocabularies(folder: Path, task: Task) -> list[Vocabulary]:
    """The vocabularies of the run `folder`. Raises ModelError when one is missing or damaged."""
    return [load_vocabulary(folder / vocabulary_name(part)) for part in task.layout.parts]


def build_model(name: str, vocabularies: Sequence[Vocabulary], hyperparameters: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised model of the family `name`. Raises ModelError as `make_hyperparameters` does."""
    return family(name).build(*map(len, vocabularies), make_hyperparameters(name, hyperparameters))


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill `model` from a checkpoint. Raises ModelError when the checkpoint is damaged or of another model."""
    try:
        model.load_state_dict(load_tensors(path))
    except RuntimeError as error:
        raise ModelError(f"{path} does not fit the model of its run: {error}") from error


def load_run(folder: Path, checkpoint: str | None = None, objective: str = LOSS) -> Traceable:
    """The model of the run `folder`, in eval mode, at `checkpoint` (see `find_checkpoint`), with its encoder.

    objective: what the scalar is: `loss`, or another objective of the model's task, such as `agreement`, whose lines
        are `prefix TAB right TAB wrong`. It decides how a line is encoded; the model and its parameters are the same.
    Raises ModelError when the folder is no run, is damaged, lacks the checkpoint, or has no such objective.
    """
    config = read_config(folder)["config"]
    name: str = config["model"]
    task = family(name).task
    encode = task.encoder(objective)
    vocabularies = load_vocabularies(folder, task)
    model = build_model(name, vocabularies, config["hyperparameters"])
    load_weights(model, find_checkpoint(folder, checkpoint))

    def encode_line(text: str) -> Encoded:
        return encode(text, *vocabularies)

    return Traceable(model.eval(), encode_line, name)
