"""Commands that need no trained model: train one, list the zoo, generate samples."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

Seed = Annotated[int, typer.Option(help="Decides everything random: the same seed gives the same result.")]


def train(
    model: Annotated[str, typer.Argument(metavar="ZOO_MODEL", help="A family; `gradtrace zoo` lists them.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, vocabulary, metrics, held-out samples.")],
    corpus: Annotated[
        str | None,
        typer.Option(
            help="Text; a pair of parallel files, source,target; lines label TAB text; .gz allowed; or a built-in "
            "corpus (`gradtrace zoo FAMILY`), whose name may tell how many samples: agreement:500."
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="A hyperparameter; may be repeated."),
    ] = None,
    vocabulary: Annotated[int, typer.Option(min=3, help="Number of words, <unk> and <eos> among them.")] = 2000,
    lowercase: Annotated[bool, typer.Option(help="Lower-case the text.")] = True,
    longest: Annotated[int, typer.Option(min=2, help="Longer sentences are left out.")] = 60,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the corpus.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Sentences of one step.")] = 16,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Of Adam.")] = 2e-3,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints; all are kept.")] = 500,
    seed: Seed = 0,
) -> None:
    """Train a model of the zoo; the same command continues an interrupted run.

    Reads the corpus; writes the folder --out, which is a MODEL for `export` and `dump`.

    Example: gradtrace train lstm_lm --corpus agreement:500 -p hidden_size=32 --epochs 2 --out runs/agreement

    Example: gradtrace train text_cnn --corpus opinions:200 --epochs 2 --out runs/cnn
    """
    from ..training import training
    from ..zoo import family, read_hyperparameters

    config = training.TrainingConfig(
        model=model,
        hyperparameters=read_hyperparameters(model, parameter or []),
        corpus=corpus or family(model).task.corpus,
        vocabulary_size=vocabulary,
        lowercase=lowercase,
        longest=longest,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        checkpoint_every=checkpoint_every,
        seed=seed,
    )
    run = training.train(config, out)
    typer.echo(
        f"{run.folder}: {run.parameters:,} parameters, {run.steps:,} steps, held-out perplexity "
        f"{run.held_out_perplexity:.1f} (unigram {run.unigram_perplexity:.1f})"
    )
    typer.echo(f"checkpoints at steps {', '.join(str(row.step) for row in run.metrics)}")


def zoo(
    model: Annotated[str | None, typer.Argument(metavar="FAMILY", help="Only this family.")] = None,
) -> None:
    """List the families of models, with their hyperparameters and what they are trained on.

    Example: gradtrace zoo transformer_lm
    """
    from ..zoo import family_names

    typer.echo("\n\n".join(_description(name) for name in ([model] if model else family_names())))


def _description(name: str) -> str:
    from ..zoo import LOSS, family

    found = family(name)
    task = found.task
    objectives = [LOSS, *task.objectives]
    lines = [
        f"{name}: {task.name}",
        f"  --corpus {', '.join(task.layout.built_in)}; {task.layout.files}; default {task.corpus}",
        f"  objectives: {', '.join(objectives)}",
    ]
    for item in fields(found.hyperparameters):
        choices = item.metadata.get("choices")
        one_of = f" (one of {', '.join(choices)})" if choices else ""
        lines.append(f"  -p {item.name}={item.default}".ljust(32) + f"{item.metadata['text']}{one_of}")
    return "\n".join(lines)


def generate(
    grammar: Annotated[str, typer.Argument(help="agreement, agreement-sentences, translation or opinions.")],
    count: Annotated[int, typer.Option(min=1, help="Number of samples, all different.")] = 100,
    seed: Seed = 0,
) -> None:
    """Print samples of a grammar, one per line, with a TAB between fields.

    agreement is for `--objective agreement`: prefix, right verb, wrong verb, number, attractors, distance, structure.

    Example: gradtrace generate agreement --count 200 --seed 1 > agreement.tsv
    """
    from ...exporters.models import SampleError
    from ...queries.errors import nearest
    from ..corpora.grammars import GENERATORS

    if grammar not in GENERATORS:
        names = list(GENERATORS)
        raise SampleError(f"there is no grammar {grammar!r}.{nearest(grammar, names)} There are {', '.join(names)}.")
    typer.echo("\n".join(GENERATORS[grammar](count, seed)))
