# One command per wish, the same for a person and for CI. Each sets up what it needs in
# .venv, at once when nothing has changed; a changed pyproject.toml makes it anew.
#
#   make demo      a proxy before a built-in origin on every runtime
#   make test      every check on one Python: what CI runs
#   make test-all  the suite on three Pythons, with assertions off, and with long profiles
#   make lint      format, lint, types and import contracts alone
#   make coverage  branch coverage of the core
#   make traces    the simulator does the same on three Pythons; SEEDS=0:10000 for longer
#   make fuzz      a minute of fuzzing over all targets; BUDGET=600 for ten
#   make bench     engine and end-to-end figures
#   make clean     drop everything that these make

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
PYTHONS := 3.11 3.12 3.13
BIN := .venv/bin
PYTEST_ARGS ?= -n auto --dist worksteal

.PHONY: demo test test-all lint coverage traces fuzz bench clean

demo: .venv/.installed
	$(BIN)/sansio-pingora demo

test: lint
	HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/basedpyright

# With assertions off the packages must behave the same: what they check of input, they
# check with `if`. PYTHONOPTIMIZE rather than -O, which the workers of xdist would not
# inherit. pytest rewrites the asserts of test modules and conftest files into raises, so
# those still bite (tests/architecture/test_optimised.py proves it); the warning that says
# the others are gone is what we are here for.
OPTIMISED := PYTHONOPTIMIZE=1
OPTIMISED_ARGS := -W "ignore:assertions not in test modules:pytest.PytestConfigWarning"

test-all: lint $(PYTHONS:%=.venv-%/.dev)
	for version in $(PYTHONS); do \
	  echo "── Python $$version ──"; \
	  HYPOTHESIS_PROFILE=ci .venv-$$version/bin/python -m pytest $(PYTEST_ARGS); \
	done
	echo "── assertions off ──"
	HYPOTHESIS_PROFILE=ci $(OPTIMISED) $(BIN)/python -m pytest $(PYTEST_ARGS) $(OPTIMISED_ARGS)
	echo "── long profile ──"
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest $(PYTEST_ARGS)

# The adapters' suite runs elsewhere: the floor is on what the core's own tests reach.
coverage: .venv/.dev
	HYPOTHESIS_PROFILE=ci $(BIN)/coverage run -m pytest --ignore=tests/adapters
	$(BIN)/coverage report

# The simulator's traces are the same on every Python, in a second run, and whatever PYTHONHASHSEED is.
SEEDS ?= 0:500
traces: $(PYTHONS:%=.venv-%/.dev)
	$(BIN)/python -m tests.traces --seeds $(SEEDS) $(PYTHONS:%=.venv-%/bin/python)

BUDGET ?= 60
fuzz: .venv/.dev
	$(BIN)/python -m fuzz --seconds $(BUDGET) $(FUZZ_ARGS)

bench: .venv/.bench
	$(BIN)/python benchmarks/run.py $(BENCH_ARGS)

clean:
	rm -rf .venv .venv-3.* build dist htmlcov .coverage .coverage.* .hypothesis \
	  .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ── environments ──────────────────────────────────────────────────────────────────────

.venv/.installed: pyproject.toml
	rm -rf .venv
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'  # the first that knows --group
	$(BIN)/python -m pip install --quiet --editable '.[all]'
	touch $@

.venv/.dev: .venv/.installed
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

.venv/.bench: .venv/.installed
	$(BIN)/python -m pip install --quiet --group bench
	touch $@

# Looked for on PATH, then among pyenv's; one that is found but does not run (a shim of a
# version that is not active) does not count.
.venv-%/.dev: pyproject.toml
	rm -rf .venv-$*
	for python in "$$(command -v python$* || true)" $$(ls -d ~/.pyenv/versions/$*.*/bin/python 2>/dev/null || true); do \
	  if [ -n "$$python" ] && "$$python" -c '' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "Python $* is missing: neither python$* on PATH nor ~/.pyenv/versions/$*.*" >&2; exit 1; \
	fi; \
	"$$found" -m venv .venv-$*
	echo '*' > .venv-$*/.gitignore
	.venv-$*/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv-$*/bin/python -m pip install --quiet --editable '.[all]' --group test
	touch $@
