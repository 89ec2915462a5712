"""`gradtrace`: the commands, and how their errors are told."""

from __future__ import annotations

import os
import re
import sys
from typing import Annotated

import typer

from ..queries.errors import GradtraceError, first_line
from ..queries.show.cells import escaped
from .commands import ask as asking
from .commands import compare as comparing
from .commands import make as building
from .limits import INTERRUPTED

HELP = (
    "Gradient tracing: through which parts of a network does the gradient travel from the loss to the parameters?\n\n"
    "Start with `gradtrace demo`; `gradtrace COMMAND --help` has examples that run after it. Results go to stdout, "
    "progress to stderr. Exit codes: 0 done; 1 the input is wrong, said in one line; 2 wrong usage; 130 interrupted."
)

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
building.register(app)
asking.register(app)
comparing.register(app)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"gradtrace {version('gradtrace')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and stop.")
    ] = False,
) -> None:
    """Options in front of a command."""


# variables that say how many threads a library may have; some libraries take any text for one, others raise
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
MOST_THREADS = 1024


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the input is wrong, 2 usage, 130 interrupted."""
    try:
        _check_threads()
        app()
    except GradtraceError as error:
        _fail(str(error))
    except MemoryError as error:
        _fail(f"this takes more memory than there is: {first_line(error)}")
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has seen enough
    except OSError as error:
        file = error.filename2 or error.filename  # the second of two is the one the user named
        _fail(f"{error.strerror or error}{f': {file}' if file else ''}")
    except SystemExit as ended:  # which typer also makes of Ctrl-C
        if ended.code == INTERRUPTED:
            typer.echo("interrupted; what was finished is kept: run the same command again to go on", err=True)
        raise


def _check_threads() -> None:
    """Raise GradtraceError for a number of threads that is none."""
    for name in THREADS:
        given = os.environ.get(name, "").strip()
        for number in given.split(",") if given else []:  # OMP_NUM_THREADS may have one for each level
            if not re.fullmatch(r"\s*[0-9]{1,6}\s*", number) or not 1 <= int(number) <= MOST_THREADS:
                raise GradtraceError(
                    f"the environment variable {name} is {given!r}; a whole number from 1 to {MOST_THREADS} is wanted. "
                    f"Give one, or unset {name}."
                )


def _fail(message: str) -> None:
    typer.echo(f"error: {escaped(message)}", err=True)  # it may quote a file
    sys.exit(1)
