"""Every family of the zoo at its default sizes: parameters, vertices, edges, and what a dump costs.

Run by hand: python tests/benchmarks/families.py. Prints a Markdown table. A step is torch's own forward and backward of
the same model on the same sample in the same run; a dump is one sample recorded, traced and written, detail
`parameters`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from measuring import median_seconds

from gradtrace.exporters.edges.blocks import total_edges
from gradtrace.exporters.recording.traced_model import TorchModel
from gradtrace.pipeline.corpora.corpora import load_corpus
from gradtrace.pipeline.corpora.vocabulary import build_vocabularies
from gradtrace.pipeline.dump.dump import Settings, dump
from gradtrace.pipeline.dump.samples import Sample, Samples
from gradtrace.pipeline.zoo import family, family_names, make_hyperparameters

CORPORA = {"language modelling": "agreement", "translation": "translation", "classification": "opinions"}


def row(name: str) -> str:
    """One family's row."""
    torch.manual_seed(0)
    kind = family(name)
    corpus = load_corpus(CORPORA[kind.task.name], kind.task.layout)
    vocabularies = build_vocabularies(kind.task.layout, corpus.train, 2000)
    module = kind.build(*map(len, vocabularies), make_hyperparameters(name, {}))
    line = max(corpus.held_out[:50], key=len)
    encoded = kind.task.encoder()(line, *vocabularies)
    model = TorchModel(module, torch.float32, name)
    recording = model.record(encoded.inputs, len(encoded.tokens), encoded.first_token)

    def step() -> None:
        module.eval()(**encoded.inputs).backward()

    def store() -> None:
        with tempfile.TemporaryDirectory() as folder:
            dump(model, Samples("one", "", [Sample(line, lambda: encoded)]), Path(folder) / "store", Settings())

    one_step, one_dump = median_seconds(step), median_seconds(store)
    return (
        f"| `{name}` | {recording.n_parameters:,} | {len(encoded.tokens)} | {recording.n_vertices:,} | "
        f"{total_edges(recording):,} | {one_step * 1e3:.1f} | {one_dump * 1e3:.0f} | {one_dump / one_step:.0f} |"
    )


def main() -> None:
    """Print the table."""
    sys.stdout.write("| family | parameters | tokens | vertices | edges | step, ms | dump, ms | dump / step |\n")
    sys.stdout.write("|---|---|---|---|---|---|---|---|\n")
    for name in family_names():
        sys.stdout.write(row(name) + "\n")


if __name__ == "__main__":
    main()
