"""What benchmarks share: models with random weights, sentences for them, seconds, memory, facts of the machine."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import small_models
import torch
from torch import Tensor, nn

import gradtrace as gt
from gradtrace.exporters.models import Encoded
from gradtrace.exporters.recording.parameter_groups import partition
from gradtrace.exporters.recording.recorder import Recording
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.exporters.store.path_tables import Partitions, default_components
from gradtrace.exporters.store.settings import Settings
from gradtrace.exporters.store.tables import index_graph
from gradtrace.pipeline.dump.checkpoints import AtCheckpoints
from gradtrace.pipeline.dump.dump import Study
from gradtrace.pipeline.dump.samples import Sample, Samples
from gradtrace.pipeline.zoo import family, make_hyperparameters

STATUS = Path("/proc/self/status")


class Size(NamedTuple):
    """Of an LSTM language model: words, units of embedding and hidden layer, and tokens of a sentence."""

    words: int
    units: int
    tokens: int

    def __str__(self) -> str:
        return f"{self.words:,} words, {self.units:,} units, {self.tokens} tokens"


@dataclass(frozen=True)
class Subject:
    """A model, one sample of it, and how long torch's own forward and backward takes: a step."""

    name: str
    model: TorchModel
    encoded: Encoded
    step: float

    def record(self, parameter_gradients: bool = True) -> Recording:
        """Record the sample."""
        inputs, tokens = self.encoded.inputs, self.encoded.tokens
        return self.model.record(inputs, len(tokens), parameter_gradients=parameter_gradients)

    def groups(self) -> Partitions:
        """What the paths of the sample are counted by."""
        recording = self.record()
        return Partitions(partition(recording), default_components(recording), index_graph(recording, 0))

    def study(self, folder: Path, settings: Settings, repeats: int = 1) -> Study:
        """The study of the sample, `repeats` times, to be written to a folder that is not there yet."""
        samples = Samples("made up", "0", [Sample("made up", lambda: self.encoded)] * repeats)
        return Study(AtCheckpoints(self.model, ()), samples, settings, folder, partition(self.record()))


def median_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """The median of a few calls after a first one."""
    call()
    return statistics.median(seconds(call) for _ in range(repeats))


def seconds(call: Callable[[], object]) -> float:
    """By the clock."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def subject(name: str, module: nn.Module, encoded: Encoded, repeats: int = 5) -> Subject:
    """Measure the step, export the module and record the sample once."""

    def step() -> None:
        module.zero_grad()
        module(**encoded.inputs).backward()

    module.eval()
    one_step = median_seconds(step, repeats)
    module.zero_grad()
    found = Subject(name, TorchModel(module, torch.float32), encoded, one_step)
    found.record()
    return found


def lstm(size: Size) -> Subject:
    """`lstm_lm` of the zoo with random weights, and a random sentence."""
    torch.manual_seed(0)
    sizes = make_hyperparameters("lstm_lm", {"embedding_size": size.units, "hidden_size": size.units})
    return subject(
        f"LSTM, {size}", family("lstm_lm").build(size.words, sizes), random_sentence(size.words, size.tokens)
    )


class SmallModel:
    """A factory of `small_models.py`, and sentences of SHORTEST to LONGEST tokens for it."""

    SHORTEST, LONGEST = 10, 30

    def __init__(self, name: str) -> None:
        self.name = name
        self.module = small_models.__dict__[name]().model.eval()

    def lines(self, n: int) -> list[str]:
        """Random sentences, all lengths in turn."""
        draw = torch.Generator().manual_seed(0)
        lengths = [self.SHORTEST + i % (self.LONGEST + 1 - self.SHORTEST) for i in range(n)]
        words = [torch.randint(small_models.WORDS, (tokens + 1,), generator=draw).tolist() for tokens in lengths]
        return [" ".join(map(str, line)) for line in words]

    def step(self) -> float:
        """Seconds of torch's forward and backward, the mean over all lengths."""
        samples = [small_models.encode(line).inputs for line in self.lines(self.LONGEST + 1 - self.SHORTEST)]

        def steps() -> None:
            for inputs in samples:
                self.module.zero_grad()
                self.module(**inputs).backward()

        return median_seconds(steps) / len(samples)

    def seconds_a_sentence(self, folder: Path, n: int, workers: int | None) -> float:
        """Of a dump: what twice as many more sentences take, so that opening the model does not count."""
        model, samples, found = f"{small_models.__file__}:{self.name}", folder / "lines.txt", []
        for sentences in (n, 3 * n):
            samples.write_text("\n".join(self.lines(sentences)))
            out = folder / f"store-{workers}-{sentences}"
            started = time.perf_counter()
            gt.dump(model, samples, out, detail="study", workers=workers)
            found.append(time.perf_counter() - started)
        return (found[1] - found[0]) / (2 * n)


class _LanguageModel(nn.Module):
    """A causal model of transformers with its loss."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, targets: Tensor) -> Tensor:
        logits = self.model(input_ids=input_ids, use_cache=False).logits
        return nn.functional.cross_entropy(logits[0], targets[0])


def gpt2(tokens: int) -> Subject:
    """The shape of GPT-2 small, 124 million parameters, with random weights, and a random sentence."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(attn_implementation="eager")
    sentence = random_sentence(config.vocab_size, tokens)
    return subject(f"GPT-2 small, {tokens} tokens", _LanguageModel(GPT2LMHeadModel(config)), sentence, repeats=3)


def random_sentence(n_words: int, tokens: int) -> Encoded:
    """Random words, each to be predicted from those before it."""
    words = torch.randint(n_words, (1, tokens + 1))
    return Encoded({"input_ids": words[:, :-1], "targets": words[:, 1:]}, [str(int(word)) for word in words[0, :-1]])


def peak_memory() -> float:
    """The most memory that this process had at once, in MiB."""
    if STATUS.exists():  # of this program alone; the other one begins with what the parent had
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def machine() -> str:
    """Cores, threads and versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "numba", "duckdb", "pyarrow"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {torch.get_num_threads()} torch threads; Python {platform.python_version()}, {packages}"
