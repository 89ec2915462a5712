"""`gradtrace dump --dry-run`: what a dump would hold and cost, from one recording per input shape."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ...exporters.edges.blocks import total_edges
from ...exporters.models import SampleError
from ...exporters.recording.traced_model import TracedModel
from ...exporters.store.settings import SHARD_SIZE, Settings
from .dump import dump
from .samples import Sample, Samples


@dataclass(frozen=True)
class Estimate:
    """Vertices and edges are counted, one recording per shape; bytes and time are scaled up from one stored sample."""

    samples: int
    checkpoints: int
    workers: int
    failed: int
    shapes: int
    vertices: int
    edges: int
    bytes: float
    seconds: float

    def __str__(self) -> str:
        failed = f", {self.failed} cannot be recorded" if self.failed else ""
        together = f", by {self.workers} workers as fast as this process" if self.workers > 1 else ""
        times = f", each at {self.checkpoints} checkpoints" if self.checkpoints > 1 else ""
        return (
            f"samples   {self.samples:>16,}  ({self.shapes} input shapes{times}{failed})\n"
            f"vertices  {self.vertices:>16,}\n"
            f"edges     {self.edges:>16,}\n"
            f"bytes     {self.bytes:>16,.0f}  (estimated from one stored sample)\n"
            f"seconds   {self.seconds:>16,.1f}  (estimated from one stored sample{together})"
        )


def estimate(
    model: TracedModel, samples: Samples, settings: Settings, checkpoints: int = 1, workers: int = 1
) -> Estimate:
    """Count what a dump of these samples would hold; writes one sample to a temporary folder to weigh it.

    checkpoints: how often each sample is recorded; the numbers of all recordings are added up
    workers: shards made at the same time
    """
    sizes: dict[object, tuple[int, int]] = {}
    vertices = edges = failed = 0
    example: tuple[Sample, int] | None = None
    for sample in samples.samples:
        try:
            encoded = sample.encode()
            shape = tuple((name, tuple(x.shape)) for name, x in encoded.inputs.items())
            if shape not in sizes:
                recording = model.record(encoded.inputs, len(encoded.tokens), encoded.first_token)
                sizes[shape] = recording.n_vertices, total_edges(recording)
        except SampleError:
            failed += 1
            continue
        vertices += sizes[shape][0]
        edges += sizes[shape][1]
        example = example or (sample, sizes[shape][1])
    if example is None:
        raise SampleError("none of the samples can be recorded; dump them without --dry-run to see why")
    n_bytes, seconds = _weigh(model, example[0], settings)
    edges, vertices = edges * checkpoints, vertices * checkpoints
    scale = edges / max(example[1], 1)
    n = len(samples.samples)
    workers = min(workers, -(-n * checkpoints // SHARD_SIZE[settings.detail]))
    seconds *= scale / workers
    return Estimate(n, checkpoints, workers, failed, len(sizes), vertices, edges, n_bytes * scale, seconds)


def _weigh(model: TracedModel, sample: Sample, settings: Settings) -> tuple[int, float]:
    """Bytes and seconds of one stored sample, the second time, when everything is compiled."""
    one = Samples("one sample", "", [sample])
    with tempfile.TemporaryDirectory() as folder:
        dump(model, one, Path(folder) / "first", settings)
        started = time.perf_counter()
        dump(model, one, Path(folder) / "second", settings)
        seconds = time.perf_counter() - started
        shards = (Path(folder) / "second").glob("*/shard=*/*")
        return sum(path.stat().st_size for path in shards), seconds
