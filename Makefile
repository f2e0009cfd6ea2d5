# Everything runs in .venv, which the first call makes and later calls keep.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
NEWEST := .venv-newest
CORE := tests/test_model.py tests/test_compiling.py tests/nn/test_contract.py tests/kan/test_networks.py \
	tests/kan/test_grid.py tests/nn/test_batch_norm.py tests/nn/test_recurrent.py \
	tests/hopfield/test_layers.py tests/ntk/test_empirical.py \
	tests/ntk/test_infinite_width.py tests/landscape/test_compilation.py \
	tests/training/test_fitting.py tests/training/test_state.py
# What kernels are lowered to, and how, changes with jax.
KERNELS := tests/kernels/test_backends.py tests/kernels/test_triton.py
# The newest jax needs Python 3.12.
PYTHON_NEWEST ?= $(shell for p in $(HOME)/.pyenv/versions/3.13.*/bin/python \
	$(HOME)/.pyenv/versions/3.12.*/bin/python python3.13 python3.12; do \
	$$p -c "" 2>/dev/null && echo $$p && break; done)
# Two workers: the suite is bound by compilation, which uses one core each.
WORKERS ?= 2
# `make test ROOM=kan` tests one room.
ROOM ?=

.PHONY: run test papers claims test-oldest test-newest test-optimized lint docs bench clean

run: $(VENV)/.installed
	$(BIN)/kanjax study --data diabetes --out runs/diabetes --overwrite

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(addprefix tests/,$(ROOM))

# The short run of every paper, each with its budget of time and memory. A busy core counts
# more processor time for the same work; the budget goes by a reference measured beside it.
papers: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) -m paper tests/test_papers.py

# What the docs show: every paper at its default size, which takes minutes each.
claims: $(VENV)/.installed-dev
	$(BIN)/kanjax reproduce --all --resume --out runs/papers
	cp runs/papers/claims.json docs/papers/claims.json

# The core on the oldest and on the newest jax allowed; `make test` runs on the newest
# that the default Python can have. All tests there, by hand:
# `make test-newest CORE= KERNELS= VERSIONS=`.
VERSIONS := -m "not paper and not numerical"
test-oldest: $(OLDEST)/.installed-dev
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(VERSIONS) $(CORE)

ifeq ($(PYTHON_NEWEST),)
test-newest:
	@echo "no Python 3.12 or 3.13 found: the newest jax is not tested"
else
test-newest: $(NEWEST)/.installed-dev
	$(NEWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(VERSIONS) $(CORE) $(KERNELS)
endif

# Everything without the flags that make tests compile quickly; takes long, by hand.
test-optimized: $(VENV)/.installed-dev
	KANJAX_TEST_OPTIMIZED=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(OLDEST) $(NEWEST) site dist build

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/.installed

$(OLDEST)/.installed-dev: pyproject.toml | $(OLDEST)/bin/python
	$(OLDEST)/bin/python -m pip install --quiet --editable ".[dev]" "jax==0.9.0"
	touch $@

$(NEWEST)/bin/python: PYTHON = $(PYTHON_NEWEST)
$(NEWEST)/.installed-dev: pyproject.toml | $(NEWEST)/bin/python
	$(NEWEST)/bin/python -m pip install --quiet --editable ".[dev]"
	touch $@

%/bin/python:
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'kanjax needs Python 3.11 or newer; call make PYTHON=python3.11')"
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --upgrade pip
