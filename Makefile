.PHONY: run check lint test pytest docs nightly format lock
.DELETE_ON_ERROR:

# Else hundreds of processes would each compile all that they import.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
WORKERS := $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')
# Files of tests are in memory if it has room for 10 GB and they may be run there: on disks they take longer to make.
IN_MEMORY := $(if $(TMPDIR),,$(shell test "$$(df --output=avail /dev/shm 2> /dev/null | tail -1)" -gt 10000000 \
	2> /dev/null && ! grep -q '^[^ ]* /dev/shm .*noexec' /proc/mounts && echo TMPDIR=/dev/shm))
ONE_THREAD := OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1
QUICK := tests/unit/study tests/unit/theory tests/unit/tables/dynamics $(wildcard tests/unit/tables/test_*.py) \
	$(filter-out %/test_train.py %/test_examples.py %/test_benchmarks.py,$(wildcard tests/unit/test_*.py))
IMPORTED := altair, polars, scipy.stats, snakemake.cli
UV_VERSION := $(shell sed -n 's/^uv==\([^ ]*\).*/\1/p' requirements.lock)

# First what will be made, and about how long it takes.
run: .venv/ready
	$(BIN)/gammascape plan
	$(BIN)/snakemake

# The inner loop: form, types, and the unit tests that need neither PyTorch's steps nor Snakemake's.
check: lint
	$(ONE_THREAD) $(BIN)/pytest -n auto --dist loadfile $(QUICK)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/mypy
	$(BIN)/python docs/manual.py --check

test: .venv/ready
	$(MAKE) --jobs 3 --output-sync=target pytest lint docs

# Tests of one file run in one process, which shares what its fixtures made. SLURM's mostly wait: so there is
# one process more than there are cores. To name no folder below tests spares the process that only hands out tests
# to import what they share. The + shows the tests as they run.
pytest: .venv/ready
	+$(IN_MEMORY) $(ONE_THREAD) $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests

# The site, in docs/_build/html/index.html, built whole: a warning or a dead link inside is an error.
docs: .venv/ready
	$(BIN)/sphinx-build --quiet --fresh-env --write-all --fail-on-warning --nitpicky docs docs/_build/html

# All small studies on real data, from the folder that GAMMASCAPE_DATA names or fetched into data/.
nightly: .venv/ready
	$(BIN)/python tests/nightly.py

format: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

lock: .venv/ready
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header \
		--no-annotate --upgrade --output-file requirements.lock

# Everything comes from the lock. What every process imports is byte-compiled here, the rest when it is first used.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --quiet --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -c 'import torch' & $(BIN)/python -c 'import $(IMPORTED)' && wait $$!
	touch $@
