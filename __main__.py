"""`python -m gradtrace`: the command line."""

from .pipeline.cli import main

main()
