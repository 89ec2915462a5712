"""`gradtrace dump --dry-run`: what a dump would hold and cost, from one recording per input shape."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from exporters.edges import total_edges
from exporters.models import SampleError
from exporters.traced_model import TracedModel
from pipeline.dump import dump
from pipeline.settings import Settings
from pipeline.sources import Sample, Samples


@dataclass(frozen=True)
class Estimate:
    """Vertices and edges are counted, one recording per shape; bytes and time are scaled up from one stored sample."""

    samples: int
    failed: int
    shapes: int
    vertices: int
    edges: int
    bytes: float
    seconds: float

    def __str__(self) -> str:
        failed = f", {self.failed} cannot be recorded" if self.failed else ""
        return (
            f"samples   {self.samples:>16,}  ({self.shapes} input shapes{failed})\n"
            f"vertices  {self.vertices:>16,}\n"
            f"edges     {self.edges:>16,}\n"
            f"bytes     {self.bytes:>16,.0f}  (estimated from one stored sample)\n"
            f"seconds   {self.seconds:>16,.1f}  (estimated from one stored sample)"
        )


def estimate(model: TracedModel, samples: Samples, settings: Settings) -> Estimate:
    """Count what a dump of these samples would hold; writes one sample to a temporary folder to weigh it."""
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
    scale = edges / max(example[1], 1)
    return Estimate(len(samples.samples), failed, len(sizes), vertices, edges, n_bytes * scale, seconds * scale)


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
