# Everything runs in .venv, which the first call makes and later calls keep.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
CORE := tests/test_model.py tests/kernels tests/kan tests/ntk tests/training/test_fit.py
# Two workers: the suite is bound by compilation, which uses one core each.
WORKERS ?= 2
# `make test ROOM=kan` tests one room.
ROOM ?=

.PHONY: run test papers claims test-oldest lint docs bench clean

run: $(VENV)/.installed
	$(BIN)/kanjax study --data diabetes --out runs/diabetes --overwrite

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(addprefix tests/,$(ROOM))

# The short run of every paper, each with its budget of time and memory; one after the
# other, since a busy core counts more processor time for the same work.
papers: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m paper tests/test_papers.py

# What the docs show: every paper at its default size, which takes minutes each.
claims: $(VENV)/.installed-dev
	$(BIN)/kanjax reproduce --all --resume --out runs/papers
	cp runs/papers/claims.json docs/papers/claims.json

# The core on the oldest jax allowed; `make test` runs on the newest.
test-oldest: $(OLDEST)/.installed-dev
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(CORE)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(OLDEST) site dist build

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/.installed

$(OLDEST)/.installed-dev: pyproject.toml | $(OLDEST)/bin/python
	$(OLDEST)/bin/python -m pip install --quiet --editable ".[dev]" "jax==0.9.0"
	touch $@

%/bin/python:
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'kanjax needs Python 3.11 or newer; call make PYTHON=python3.11')"
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --upgrade pip
