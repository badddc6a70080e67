PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test test-fast test-lowest lint type docs bench

help:  ## Show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/done  ## Make .venv with the tested versions of everything (about 7 GB, 3 minutes)

.venv/done: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: setup  ## Train, measure and convert on the demo data (about 10 minutes on 2 cores)
	$(BIN)/python -m experiments.run kpn_mfi
	$(BIN)/python -m experiments.run kpn_mfi predict

test: setup  ## Run all tests (about 20 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: setup  ## Run the tests that are not marked slow (about 3 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-lowest: .venv-lowest/done  ## Run the fast tests with the oldest PyTorch that is supported (7 GB more)
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

.venv-lowest/done: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet --upgrade pip
	.venv-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable '.[dev]'
	touch $@

lint: setup type  ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: setup  ## Check types (mypy, strict on vitm)
	$(BIN)/mypy

docs: setup  ## Build the documentation into build/docs, and check it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open build/docs/index.html"

bench: setup  ## Measure our operators beside plain forms: time ratio and peak memory
	$(BIN)/python -m benchmarks.ops
