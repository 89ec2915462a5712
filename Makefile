# On a fresh machine with Python 3.11 or newer: `make demo`, `make test`, `make lint`.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TYPES := .venv/types/gradtrace# the installed package as links, for mypy

.DEFAULT_GOAL := help
.PHONY: help env demo test test-slow docs lint format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

env: $(INSTALLED) ## make .venv with gradtrace and its tools in it

# Installed again whenever the dependencies change.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "gradtrace needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say make PYTHON=python3.11" >&2; \
	  exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	mkdir -p $(TYPES)
	ln -sfn $(addprefix $(CURDIR)/,exporters queries pipeline __init__.py __main__.py py.typed) $(TYPES)/
	@touch $@

demo: env ## train, export, dump, trace and rank once, on the bundled default
	$(BIN)/gradtrace demo

PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test: env ## run all tests but the long ones
	$(PYTEST) -m 'not slow'

test-slow: env ## run the long ones
	$(PYTEST) -m slow

docs: env ## write the pages that are made of the code, build the site of all pages in build/docs
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

lint: env ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: env ## format the code, mend what can be mended
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove what builds and tools leave behind; .venv and runs stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
