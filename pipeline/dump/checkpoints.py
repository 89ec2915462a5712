"""A model at each of its checkpoints in turn: one export, many sets of weights."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...exporters.recording.traced_model import TracedModel
from ..training.runs import load_tensors


@dataclass(frozen=True)
class Checkpoint:
    """A name for samples to carry, and the file of the weights; None: those the model has."""

    name: str
    path: Path | None = None


class AtCheckpoints:
    """A model, and where its weights come from. Without checkpoints it has the weights it came with, and no name.

    Raises ModelError, in every method, when a checkpoint cannot be read or does not fit the model.
    """

    def __init__(self, model: TracedModel, checkpoints: Sequence[Checkpoint] = ()) -> None:
        self._model = model
        self._checkpoints = list(checkpoints)
        self._loaded: int | None = None
        self._fingerprints: dict[int, str] = {}

    def __len__(self) -> int:
        return max(len(self._checkpoints), 1)

    @property
    def names(self) -> list[str | None]:
        """What the samples of each checkpoint carry."""
        return [checkpoint.name for checkpoint in self._checkpoints] or [None]

    def at(self, number: int) -> TracedModel:
        """The model with the weights of the checkpoint of this number, until another one is asked for."""
        path = self._checkpoints[number].path if self._checkpoints else None
        if path is not None and self._loaded != number:
            self._model.load(load_tensors(path), str(path))
            self._loaded = number
        return self._model

    @property
    def last(self) -> TracedModel:
        """The model at its last checkpoint."""
        return self.at(len(self) - 1)

    def fingerprint_at(self, number: int) -> str:
        """The model's fingerprint at one checkpoint. The model must have recorded a sample."""
        if number not in self._fingerprints:
            self._fingerprints[number] = self.at(number).fingerprint()
        return self._fingerprints[number]

    def fingerprint(self) -> str:
        """Changes when the model's operators change, the checkpoints, or any number in one of them."""
        parts = [self.fingerprint_at(number) for number in range(len(self))]
        if len(parts) == 1:
            return parts[0]
        named = " ".join(f"{name} {part}" for name, part in zip(self.names, parts, strict=True))
        return hashlib.sha256(named.encode()).hexdigest()[:32]

    def in_manifest(self) -> dict[str, str]:
        """As the manifest stores it, and compares it when a dump is continued."""
        found = {"name": self._model.name, "fingerprint": self.fingerprint()}
        names = [name for name in self.names if name is not None]
        return {**found, "checkpoints": ", ".join(names)} if len(names) > 1 else found
