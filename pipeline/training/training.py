"""Training a model of the zoo on a corpus, with checkpoints on the way.

Bit for bit repeatable on one machine with one number of threads: initialisation, the order of batches, and dropout
depend on the seed and the step alone. So an interrupted training that goes on ends where an uninterrupted one ends.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ...exporters.models import Encoded, ModelError
from ...queries.manifest import replace_file
from ..corpora.corpora import PYTHON_DOCS, Corpus, load_corpus
from ..corpora.vocabulary import Vocabulary, build_vocabularies, save_vocabulary
from ..progress import Advance, progress
from ..zoo import Task, family, hyperparameter_values
from . import runs
from .batches import Batch, batches_by_length, steps_left


class TrainingError(ModelError):
    """Training cannot start or go on. The message says what was got, what was wanted, and what to do."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides how a training ends.

    model:            a family of the zoo
    hyperparameters:  of that family; those left out take their defaults
    corpus:           a built-in corpus or files, as the family's task reads them (see `pipeline.corpora.corpora`)
    vocabulary_size:  words, special ones included; of source and target each
    longest:          tokens; longer sentences are left out
    gradient_clip:    largest 2-norm of the gradient of one update
    learning_rate:    of Adam at the first update, from where it falls linearly to 0
    checkpoint_every: updates between checkpoints; the first and the last model are kept as well

    Raises ModelError for a value that is out of range, or that the family does not know.
    """

    model: str = "lstm_lm"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    corpus: str = PYTHON_DOCS
    vocabulary_size: int = 5000
    lowercase: bool = True
    longest: int = 60
    held_out_every: int = 10
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 3e-3
    gradient_clip: float = 1.0
    checkpoint_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"vocabulary_size": 3, "longest": 2, "held_out_every": 2}
        for name in ("vocabulary_size", "longest", "held_out_every", "epochs", "batch_size", "checkpoint_every"):
            if getattr(self, name) < least.get(name, 1):
                raise ModelError(f"{name} is {getattr(self, name)}; it must be {least.get(name, 1)} or more.")
        for name in ("learning_rate", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ModelError(f"{name} is {getattr(self, name)}; it must be a finite number above 0.")
        object.__setattr__(self, "hyperparameters", hyperparameter_values(self.model, self.hyperparameters))


# The language model of `gradtrace demo`: under a minute on two cores. Most words that occur once are left to `<unk>`.
DEMO = TrainingConfig(
    model="lstm_lm",
    hyperparameters={"embedding_size": 128, "hidden_size": 128, "dropout": 0.5},
    corpus=PYTHON_DOCS,
    vocabulary_size=1500,
    epochs=30,
    batch_size=8,
    learning_rate=2e-3,
    checkpoint_every=500,
)


@dataclass(frozen=True)
class Metrics:
    """One line of `metrics.jsonl`; losses in nats per predicted token, `train_loss` since the checkpoint before."""

    step: int
    epoch: float
    train_loss: float | None
    held_out_loss: float
    held_out_perplexity: float
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished training.

    first_step:         updates that were there already when training began: 0, or those of an interrupted training
    unigram_perplexity: of the held-out samples when every word or label is predicted by its frequency alone
    """

    folder: Path
    config: TrainingConfig
    parameters: int
    first_step: int
    metrics: list[Metrics]
    unigram_perplexity: float

    @property
    def steps(self) -> int:
        return self.metrics[-1].step

    @property
    def held_out_perplexity(self) -> float:
        return self.metrics[-1].held_out_perplexity


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))  # exp overflows at 710; a model this bad needs no digits


def unigram_perplexity(train: Sequence[Encoded], held_out: Sequence[Encoded], size: int) -> float:
    """Perplexity of the held-out targets under their frequency in the training samples.

    Frequencies are add-one smoothed over the `size` members of the vocabulary that targets are from; words outside it
    count as `<unk>`, as they do for a model.
    """

    def numbers(samples: Sequence[Encoded]) -> list[int]:
        return [number for sample in samples for number in sample.inputs["targets"].flatten().tolist()]

    counts = Counter(numbers(train))
    total = counts.total() + size
    targets = numbers(held_out)
    return math.exp(-sum(math.log((counts[number] + 1) / total) for number in targets) / len(targets))


@torch.no_grad()
def held_out_loss(model: nn.Module, task: Task, batches: Sequence[Batch]) -> float:
    """Mean loss, in nats per prediction, of `model` in eval mode."""
    model.eval()
    scored = [task.scored(batch) for batch in batches]
    losses = [float(model(**batch)) for batch in batches]
    model.train()
    return sum(n * loss for n, loss in zip(scored, losses, strict=True)) / sum(scored)


@dataclass(frozen=True)
class _Data:
    """A corpus ready to train on. Raises CorpusError and ModelError when it cannot be used."""

    corpus: Corpus
    vocabularies: list[Vocabulary]
    train: list[Encoded]
    held_out: list[Encoded]
    unigram_perplexity: float


def _data(config: TrainingConfig) -> _Data:
    task = family(config.model).task
    corpus = load_corpus(
        config.corpus,
        task.layout,
        held_out_every=config.held_out_every,
        longest=config.longest,
        lowercase=config.lowercase,
    )
    vocabularies = build_vocabularies(task.layout, corpus.train, config.vocabulary_size, config.lowercase)
    train, held_out = ([task.encode(line, *vocabularies) for line in part] for part in (corpus.train, corpus.held_out))
    predicted = vocabularies[task.predicted]
    return _Data(corpus, vocabularies, train, held_out, unigram_perplexity(train, held_out, len(predicted)))


class _Training:
    """A model in training: what changes from update to update, and how it is kept."""

    def __init__(self, config: TrainingConfig, out: Path, data: _Data) -> None:
        self.config, self.out = config, out
        self.task = family(config.model).task
        self.samples = data.train
        self.held_out = batches_by_length(self.task, data.held_out, config.batch_size)
        self.per_epoch = math.ceil(len(self.samples) / config.batch_size)
        self.total = self.per_epoch * config.epochs
        torch.manual_seed(config.seed)
        self.model = runs.build_model(config.model, data.vocabularies, config.hyperparameters)
        self.optimizer = Adam(self.model.parameters(), config.learning_rate)
        self.metrics: list[Metrics] = []
        self.first = 0
        self._nats, self._scored = 0.0, 0

    def resume(self) -> None:
        """Go back to the last update that both the model and the optimizer were saved after, if any."""
        metrics = read_metrics(self.out)
        if metrics and metrics[-1].step == self.total:
            self.metrics, self.first = metrics, self.total
        elif (self.out / runs.OPTIMIZER).is_file():
            state = runs.load_tensors(self.out / runs.OPTIMIZER)
            self.first = int(state.pop("step"))
            self.metrics = [row for row in metrics if row.step <= self.first]
            runs.load_weights(self.model, runs.checkpoint_path(self.out, self.first))
            _restore(self.optimizer, self.model, state)

    def update(self, step: int, samples: Sequence[Encoded]) -> None:
        """One step of Adam. Raises TrainingError when the loss or its gradient is not finite."""
        torch.manual_seed(self.config.seed * 1_000_003 + step)  # dropout depends on the step, not on what ran before
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * (1 - step / self.total)
        batch = self.task.collate(samples)
        loss = self.model(**batch)
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.gradient_clip)
        self._check_finite(float(loss.detach() + norm), step)
        self.optimizer.step()
        scored = self.task.scored(batch)
        self._nats, self._scored = self._nats + float(loss.detach()) * scored, self._scored + scored

    def _check_finite(self, value: float, step: int) -> None:
        if not math.isfinite(value):
            kept = f"{self.out} keeps its checkpoints up to step {self.metrics[-1].step}. " if self.metrics else ""
            raise TrainingError(
                f"training diverged: the loss or its gradient became {value} in update {step}. {kept}"
                f"Train into another folder with a learning rate below {self.config.learning_rate:g}, "
                f"or a gradient clip below {self.config.gradient_clip:g}."
            )

    def checkpoint(self, step: int, seconds: float) -> None:
        """Measure and save the model after `step` updates."""
        loss = held_out_loss(self.model, self.task, self.held_out)
        self._check_finite(loss, step)
        train_loss = self._nats / self._scored if self._scored else None
        self._nats, self._scored = 0.0, 0
        row = Metrics(step, step / self.per_epoch, train_loss, loss, _perplexity(loss), round(seconds, 3))
        self.metrics.append(row)
        path = runs.checkpoint_path(self.out, step)
        runs.save_tensors(path, self.model.state_dict())
        runs.write_json(path.with_suffix(".json"), asdict(row))
        lines = "".join(json.dumps(asdict(row)) + "\n" for row in self.metrics)
        replace_file(self.out / runs.METRICS, lines.encode())
        if step < self.total:  # last, so that it never is ahead of the checkpoint it belongs to
            state = {"step": torch.tensor(step), **_state(self.optimizer, self.model)}
            runs.save_tensors(self.out / runs.OPTIMIZER, state)
        else:
            (self.out / runs.OPTIMIZER).unlink(missing_ok=True)

    def run(self, advance: Advance) -> None:
        """All updates that are left."""
        self.model.train()
        before = self.metrics[-1].seconds if self.metrics else 0.0
        start = time.perf_counter()
        if not self.metrics:
            self.checkpoint(0, 0.0)
        config = self.config
        for step, samples in steps_left(self.samples, config.batch_size, config.epochs, config.seed, self.first):
            self.update(step, samples)
            done = step + 1
            if done % config.checkpoint_every == 0 or done == self.total:
                self.checkpoint(done, before + time.perf_counter() - start)
            advance(done, f"held-out perplexity {self.metrics[-1].held_out_perplexity:.1f}")


def _state(optimizer: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's moments by name: `exp_avg/decoder.bias`, ..."""
    values = optimizer.state_dict()["state"]
    names = [name for name, _ in model.named_parameters()]
    return {f"{key}/{names[i]}": value for i, moments in values.items() for key, value in moments.items()}


def _restore(optimizer: Optimizer, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give `optimizer` back what `_state` returned."""
    numbers = {name: i for i, (name, _) in enumerate(model.named_parameters())}
    values: dict[int, dict[str, Tensor]] = {}
    for path, value in state.items():
        key, _, name = path.partition("/")
        values.setdefault(numbers[name], {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})


def read_metrics(folder: Path) -> list[Metrics]:
    """The metrics of every checkpoint of the run `folder`, in order; none before the first.

    Raises ModelError when the file is damaged.
    """
    path = folder / runs.METRICS
    if not path.is_file():
        return []
    try:
        return [Metrics(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError) as error:
        raise ModelError(f"{path} is damaged ({error}). Restore it, or train into another folder.") from error


def _claim(out: Path, description: dict[str, Any]) -> None:
    """Make `out` the folder of the run described, or find that it is.

    Raises TrainingError when it holds another run, or anything else.
    """
    if not runs.is_run(out):
        if out.exists() and (not out.is_dir() or any(not file.name.startswith(".") for file in out.iterdir())):
            raise TrainingError(f"{out} exists and is no training run. Give a new folder, so that nothing is lost.")
        (out / runs.CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        runs.write_json(out / runs.CONFIG, description)
        return
    there = runs.read_config(out)
    differ = [f"{key} is {there['config'].get(key)!r} there" for key, value in description["config"].items()
              if key != "corpus" and there["config"].get(key) != value]  # fmt: skip
    if there["corpus"]["fingerprint"] != description["corpus"]["fingerprint"]:
        differ.append(f"the corpus {there['config']['corpus']} has other sentences there")
    if differ:
        raise TrainingError(
            f"{out} holds another run: {'; '.join(differ)}. Train into another folder, or repeat that run's "
            f"configuration (see {out / runs.CONFIG}) to go on with it."
        )


def _describe(config: TrainingConfig, data: _Data) -> dict[str, Any]:
    """What `config.json` holds."""
    layout = family(config.model).task.layout
    sizes = {part.name: len(vocabulary) for part, vocabulary in zip(layout.parts, data.vocabularies, strict=True)}
    return {
        "format": runs.FORMAT,
        "format_version": runs.FORMAT_VERSION,
        "torch": torch.__version__,
        "config": asdict(config),
        "corpus": {
            "fingerprint": data.corpus.fingerprint,
            "train_sentences": len(data.corpus.train),
            "train_tokens": sum(len(line.split()) for line in data.corpus.train),
            "held_out_sentences": len(data.corpus.held_out),
            "vocabulary": sizes if len(sizes) > 1 else len(data.vocabularies[0]),
            "unigram_perplexity": data.unigram_perplexity,
        },
    }


def _silent(done: int, said: str = "", /) -> None:
    del done, said


def train(config: TrainingConfig, out: Path, shown: bool = True) -> Run:
    """Train a model into the folder `out`, laid out as `pipeline.training.runs` says.

    When `out` holds an unfinished run of the same configuration, training goes on from its last checkpoint; when it
    holds a finished one, nothing is done. An interrupt loses no more than the updates since the last checkpoint.

    shown: whether progress is, on stderr
    Raises CorpusError for a corpus that cannot be used, and TrainingError when `out` holds something else, or when the
    loss stops being finite.
    """
    data = _data(config)
    _claim(out, _describe(config, data))
    with torch.random.fork_rng(devices=[]):
        training = _Training(config, out, data)
        training.resume()
        if training.first < training.total:
            _save_data(out, family(config.model).task, data)
            with progress("training", training.total) if shown else nullcontext(_silent) as advance:
                training.run(advance)
    parameters = sum(parameter.numel() for parameter in training.model.parameters())
    return Run(out, config, parameters, training.first, training.metrics, data.unigram_perplexity)


def _save_data(out: Path, task: Task, data: _Data) -> None:
    for part, vocabulary in zip(task.layout.parts, data.vocabularies, strict=True):
        save_vocabulary(vocabulary, out / runs.vocabulary_name(part))
    replace_file(out / runs.HELD_OUT, "".join(f"{line}\n" for line in data.corpus.held_out).encode())
