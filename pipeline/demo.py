"""`gradtrace demo`: the whole line once, on a small LSTM language model of Python's own documentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import typer

from ..exporters.store.annotate import annotate, save_model
from ..exporters.store.settings import Settings
from ..queries import Store, open_store
from .dump.dump import dump, first_recording
from .dump.models import open_model
from .dump.samples import read_samples
from .output import print_rows
from .progress import progress
from .training import training

N_SAMPLES = 20
PARAMETER = "lstm.weight_hh_l0[3,17]"


def run(out: Path) -> None:
    """Train, export, dump, trace, rank; every step is skipped or continued when `out` has it already."""
    model, store = out / "model", out / "store"
    _say(f"1. Training an LSTM language model on the documentation of Python -> {model}")
    trained = training.train(training.DEMO, model)
    _say(
        f"   {trained.parameters:,} parameters, held-out perplexity {trained.held_out_perplexity:.1f}; "
        f"word frequencies alone give {trained.unigram_perplexity:.1f}"
    )

    opened = open_model(str(model), "float32")
    samples = read_samples(model / "held_out.txt", opened.encode, N_SAMPLES)
    _say(f"2. Exporting it to ONNX, compared with torch: loss and every gradient -> {out / 'model.onnx'}")
    recording = first_recording(opened.traced, samples.samples)
    save_model(annotate(opened.traced.model, recording), out / "model.onnx")

    _say(f"3. Recording the gradients of {N_SAMPLES} held-out sentences and tracing every parameter -> {store}")
    with progress("dump", N_SAMPLES) as advance:
        dump(opened.traced, samples, store, Settings(), advance)

    with open_store(store) as opened_store:
        _show(opened_store)
    _say(
        f"\nThe store is {store}. Ask it more:\n"
        f"  gradtrace importance {store} --by component\n"
        f"  gradtrace trace {store} '{PARAMETER}' --sample 1\n"
        f'  gradtrace sql {store} "select role, sum(edges) from path_edges join nodes using (graph, node) group by all"'
    )


def _show(store: Store) -> None:
    _say("\n4. Where does the gradient of one recurrent weight come from?\n")
    _say(str(store.trace(PARAMETER, sample=0)))
    _say(
        f"\n5. Importance: the share of each parameter group's path edges that run through each component,\n"
        f"   mean over {N_SAMPLES} sentences (a row sums to 1)\n"
    )
    shares = store.importance(by=["parameter_group", "component"]).to_arrow_table()
    print_rows(pivot(shares, "parameter_group", "component", "edge_share", _short), "table")


def pivot(rows: pa.Table, down: str, across: str, value: str, short: Callable[[str], str]) -> pa.Table:
    """One row per value of `down`, one column per value of `across` (renamed by `short`), in order of appearance."""
    cells = {(row[down], row[across]): row[value] for row in rows.to_pylist()}
    names = list(dict.fromkeys(name for name, _ in cells))
    columns = sorted({column for _, column in cells})
    table = {short(column): [cells.get((name, column)) for name in names] for column in columns}
    return pa.table({down: names, **table})


def _short(component: str) -> str:
    """`lstm.l0.forget_gate` -> `forget_gate`: the demo's model has one layer."""
    return component.rpartition(".")[2]


def _say(text: str) -> None:
    typer.echo(text)
