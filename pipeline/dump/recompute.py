"""Record a stored sample again, for the edges that its store does not keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...exporters.edges.vertex_edges import VertexEdges as RecordedEdges
from ...exporters.paths.best_edges import best_edges
from ...exporters.paths.path_sums import contribution_spread
from ...exporters.recording.fingerprint import fingerprint
from ...exporters.recording.recorder import Recording
from ...queries.errors import StoreError
from ...queries.walk.edge_matrices import VertexEdges
from ..training.runs import find_checkpoint, is_run
from ..zoo import LOSS
from .checkpoints import AtCheckpoints, Checkpoint
from .dump import first_recording
from .models import open_model
from .samples import Samples, how_chosen, read_samples

if TYPE_CHECKING:
    from ...queries.database.reader import StoreReader
    from ...queries.walk.suffixes import Floats, Ints


class RecordedSample:
    """The edges of a sample recorded again: what `Store.k_best(more=…)` takes."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._edges = RecordedEdges(recording)

    def __call__(self, vertices: Ints) -> VertexEdges:
        """All edges that leave these vertices."""
        found = self._edges.of(vertices)
        return VertexEdges(found.src, found.dst, found.slot, found.derivative)

    def best(self, method: str, keep: int, start: int) -> VertexEdges:
        """The `keep` best edges of `start` and of every activation under `method`."""
        best, first = best_edges(self._recording, keep, method), self._recording.n_parameters
        src = np.array([*([start] if start < first else []), *range(first, self._recording.n_vertices)])
        row, rank = np.nonzero(best.target[src] >= 0)
        at = src[row], rank
        return VertexEdges(src[row], best.target[at], best.slot[at], best.derivative[at])

    def contribution_l1(self) -> Floats:
        """The sum of |contributions| of every vertex."""
        sums: Floats = np.exp2(contribution_spread(self._recording).log2_sum)
        return sums


def recorded_edges(
    store: StoreReader,
    sample: int,
    model: str,
    samples: Path,
    checkpoint: str | None = None,
    objective: str = LOSS,
) -> RecordedSample:
    """A sample recorded again, for `Store.k_best(more=…)`, from MODEL and the file of samples it was dumped with.

    Records the sample once. checkpoint: of a store of one; those of a store of several are found by their names
    Raises StoreError when the model or the samples are not those of the store.
    """
    graph = store.graph_of(sample)
    opened = open_model(model, str(store.manifest.settings["dtype"]), checkpoint, objective)
    fingerprint_of_samples = str(store.manifest.samples["fingerprint"])
    read = read_samples(samples, opened.encode, *how_chosen(fingerprint_of_samples))
    _compare("samples", str(samples), read.fingerprint, fingerprint_of_samples)
    at = AtCheckpoints(opened.traced, _checkpoints(store, model))
    recording = _recording(store, sample, at, read)
    ((mark,),) = store.fetch("select fingerprint from graphs where graph = ?", [graph.graph])
    _compare("graph", f"sample {sample}", fingerprint(recording.tape), mark)
    return RecordedSample(recording)


def _checkpoints(store: StoreReader, model: str) -> list[Checkpoint]:
    """The checkpoints of a store that has several, in the run `model`."""
    names = str(store.manifest.model.get("checkpoints", ""))
    if not names:
        return []
    if not is_run(Path(model)):
        raise StoreError(f"the store has samples at the checkpoints {names}; give their training run, not {model}.")
    return [Checkpoint(name, find_checkpoint(Path(model), name)) for name in names.split(", ")]


def _recording(store: StoreReader, sample: int, at: AtCheckpoints, read: Samples) -> Recording:
    """The recording of a sample, made as the dump made it: the first sample decides how the model is exported."""
    first_recording(at.last, read.samples)
    _compare("model", at.last.name, at.fingerprint(), store.manifest.model["fingerprint"])
    number, which = divmod(sample, len(read.samples))
    encoded = read.samples[which].encode()
    return at.at(number).record(encoded.inputs, len(encoded.tokens), encoded.first_token)


def _compare(what: str, name: str, found: str, stored: str) -> None:
    if found != stored:
        raise StoreError(
            f"{name} is not the {what} of the store: its fingerprint is {found}, the store's is {stored}. "
            "Give the model and the samples that the store was dumped from."
        )
