"""Commands that set samples or stores against each other: stability, compare. None of them imports torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import add, open_to_ask
from .ask import Components, Format, Formatted, Groups, Method, Out, StorePath

Measure = Annotated[str, typer.Option(help="A column of `importance`, such as edge_share, path_rate or mean_edges.")]


def stability(
    store: StorePath,
    by: Annotated[
        str, typer.Option(help="What is ranked: component, module, role, layer, step or op_type.")
    ] = "component",
    group: Annotated[
        str | None, typer.Option(help="One parameter group only, or '(all)': all parameters together.")
    ] = None,
    measure: Measure = "edge_share",
    method: Method = "greedy",
    components: Components = None,
    groups: Groups = None,
    form: Formatted = Format.TABLE,
    out: Out = None,
) -> None:
    """Say whether the samples agree which components matter most.

    Reads STORE, and the TOML files; prints one row per parameter group and one for all parameters: Kendall's W between
    the samples' rankings (1: all alike), and the rank correlation of random halves of the samples.

    Example: gradtrace stability runs/demo/store --measure path_rate
    """
    from ...queries.database.connection import read_relation
    from ..output import print_rows

    relation = open_to_ask(store).stability(by, group, measure, method, components, groups)
    print_rows(read_relation(relation), form.value, out)


def compare(
    store: StorePath,
    other: Annotated[
        Path | None, typer.Argument(metavar="OTHER", help="Another graph store, the right side.", show_default=False)
    ] = None,
    between: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE,VALUE",
            help="A label or column of samples, and its values on the left and on the right.",
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="Columns of a row, with commas, as in `importance`, without `sample` and labels.")
    ] = "parameter_group,component",
    measure: Measure = "edge_share",
    method: Method = "greedy",
    components: Components = None,
    groups: Groups = None,
    form: Formatted = Format.TABLE,
    out: Out = None,
) -> None:
    """Compare the importance of components in two stores, or in two groups of one store's samples.

    Reads STORE and OTHER, and the TOML files; prints one row per combination of --by: the means of both
    sides and their difference, right - left, with a bootstrap 95 % interval over samples. Samples of the same texts
    are compared in pairs.

    With labels, --between number=singular,plural. The first example makes the store that the second asks: is training
    seen in the paths?

    Example: gradtrace dump runs/demo/model --checkpoints 0,500 --limit 5 --detail study --out runs/demo/training

    Example: gradtrace compare runs/demo/training --between checkpoint=step-000000,step-000500 --by component
    """
    from ..output import print_rows, print_shown

    columns = [column.strip() for column in by.split(",") if column.strip()]
    found = open_to_ask(store).compare(
        None if other is None else open_to_ask(other), between, columns, measure, method, components, groups
    )
    if form is Format.TABLE and out is None:
        print_shown(found)
        return
    for note in found.notes:
        typer.echo(note, err=True)
    print_rows(found.to_arrow(), form.value, out)


def register(app: typer.Typer) -> None:
    """Add these commands to an application."""
    add(app, (stability, compare))
