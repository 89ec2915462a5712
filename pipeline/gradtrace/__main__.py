"""`python -m gradtrace`: the command line."""

from gradtrace.pipeline.cli import main

main()
