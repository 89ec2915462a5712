"""What gradtrace can trace: tables of functions and of model families, each tried through the real path.

`python tests/coverage/generate.py --functions --families` writes what it finds to docs/coverage.md.
"""
