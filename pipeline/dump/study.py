"""A study as it is asked for: MODEL, samples and what goes with them, to be opened here or on another machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...exporters.models import Encoded, ModelError, SampleError
from ...exporters.recording.traced_model import SOME, Check, TracedModel
from ...queries.manifest import SOURCE
from ...queries.show.cells import escaped
from ..training.runs import HELD_OUT, find_checkpoint, find_checkpoints, is_run
from ..zoo import LOSS
from .checkpoints import Checkpoint
from .models import OpenedModel, open_model
from .samples import Samples, read_samples


@dataclass(frozen=True)
class OpenedStudy:
    """A model ready to record, the checkpoints whose weights it is to take in turn, and the samples."""

    traced: TracedModel
    checkpoints: Sequence[Checkpoint]
    samples: Samples


@dataclass(frozen=True)
class StudySource:
    """What `gradtrace dump` is told of model and samples. Paths may be relative to the working folder.

    samples:     default: the held-out samples of a training run
    checkpoint:  one checkpoint; default: the latest
    checkpoints: of a training run, `all` or several with commas between
    shuffle:     a seed; see `read_samples`
    check:       which samples' gradients are compared with torch's; see `TorchModel`
    """

    model: str
    samples: Path | None = None
    dtype: str = "float32"
    checkpoint: str | None = None
    checkpoints: str | None = None
    objective: str = LOSS
    limit: int | None = None
    shuffle: int | None = None
    check: Check = SOME

    def in_manifest(self) -> dict[str, str]:
        """As the manifest stores it, for a repair; nothing where a name is no text.

        Number and order of the samples are in their fingerprint, the precision in the settings.
        """
        given = {name: getattr(self, name) for name in SOURCE}
        if is_run(Path(self.model)):  # which may get more checkpoints
            names = ",".join(checkpoint.name for checkpoint in self.taken_checkpoints())
            given["checkpoint" if self.checkpoints is None else "checkpoints"] = names
        found = {name: str(value) for name, value in given.items() if value is not None}
        return found if all(escaped(text) == text for text in found.values()) else {}

    def open(self) -> OpenedStudy:
        """Open model and samples. Raises ModelError and SampleError for what cannot be used."""
        checkpoints = self.taken_checkpoints()
        opened = self.open_model()
        return OpenedStudy(opened.traced, checkpoints, self.open_samples(opened.encode))

    def open_model(self) -> OpenedModel:
        """The model alone."""
        return open_model(self.model, self.dtype, self.checkpoint, self.objective, self.check)

    def open_samples(self, encode: Callable[[str], Encoded] | None) -> Samples:
        """The samples alone. encode: the model's encoder, if it has one."""
        return read_samples(self._samples(), encode, self.limit, self.shuffle)

    def _samples(self) -> Path:
        if self.samples is not None:
            return self.samples
        held_out = Path(self.model) / HELD_OUT
        if self.objective != LOSS or not held_out.is_file():
            raise SampleError("give --samples FILE; only a training run brings samples along, and only for its loss")
        return held_out

    def taken_checkpoints(self) -> list[Checkpoint]:
        """Those whose weights the model takes in turn; none for a model that has no name for its own."""
        run = Path(self.model)
        if self.checkpoints is not None:
            if self.checkpoint is not None:
                raise ModelError("--checkpoint and --checkpoints were both given. Give one of them.")
            if not is_run(run):
                raise ModelError(
                    f"--checkpoints is for training runs, and {self.model} is none. Dump a model of your own once for "
                    "each --checkpoint, into stores of their own."
                )
            return [Checkpoint(path.stem, path) for path in find_checkpoints(run, self.checkpoints)]
        if is_run(run):
            return [Checkpoint(find_checkpoint(run, self.checkpoint).stem)]
        return [Checkpoint(Path(self.checkpoint).stem)] if self.checkpoint is not None else []
