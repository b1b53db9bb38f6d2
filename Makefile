# Everything runs in $(VENV), made on first use from PYTHON:
#   make test PYTHON=python3.12        another interpreter
#   make test VENV=build/other-venv    another place

PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
# Tests run in several processes; PYTEST_ARGS="-n 0" runs them in one.
jobs := -n logical --maxprocesses 4 --dist worksteal

bin := $(VENV)/bin
link := build/typecheck/residuum

.DEFAULT_GOAL := help
.PHONY: help env demo model-page test check-all lint types contracts bench calibrate docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# One stamp per set of extras; a set is installed again when pyproject.toml or the interpreter's stamp changes.
$(VENV)/.stamp-python:
	@command -v $(PYTHON) >/dev/null || { echo "residuum needs Python 3.11 or later, and '$(PYTHON)' was not found: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "residuum needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] + ": make PYTHON=python3.11")'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.stamp-core: $(VENV)/.stamp-python pyproject.toml
	$(bin)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-python pyproject.toml
	$(bin)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.stamp-core

$(VENV)/.stamp-bng: $(VENV)/.stamp-python pyproject.toml
	$(bin)/python -m pip install --quiet --editable '.[dev,bng,petab,fit,cluster]'
	@touch $@ $(VENV)/.stamp-dev $(VENV)/.stamp-core

$(VENV)/.stamp-peers: $(VENV)/.stamp-python pyproject.toml
	$(bin)/python -m pip install --quiet --editable '.[bng,peers]'
	@touch $@ $(VENV)/.stamp-core

$(VENV)/.stamp-docs: $(VENV)/.stamp-python pyproject.toml
	$(bin)/python -m pip install --quiet --editable '.[docs,bng]'
	@touch $@ $(VENV)/.stamp-core

env: $(VENV)/.stamp-dev  ## a development environment in .venv

demo: $(VENV)/.stamp-core  ## a small dose matrix in demo/ (no Perl, no compiler)
	$(bin)/residuum demo --out demo

model-page: $(VENV)/.stamp-core  ## what the model holds, shows and leaves open, into build/model/
	$(bin)/residuum models describe --out build/model

test: $(VENV)/.stamp-bng  ## the fast tests
	$(bin)/python -m pytest $(jobs) $(PYTEST_ARGS)

check-all: lint types contracts $(VENV)/.stamp-bng  ## lint, types, import contracts and every test, slow ones too
	$(bin)/python -m pytest -m "not peers" $(jobs) $(PYTEST_ARGS)

lint: $(VENV)/.stamp-dev  ## style
	$(bin)/ruff check .

types: $(VENV)/.stamp-dev  ## static types
	@mkdir -p $(dir $(link)) && ln -sfn ../.. $(link)
	$(bin)/mypy -p residuum

contracts: $(VENV)/.stamp-dev  ## which folder may import which
	$(bin)/lint-imports

calibrate: $(VENV)/.stamp-core  ## fit, ensemble and validation of the shipped model, into build/calibration/ (an hour)
	$(bin)/residuum calibrate --out build/calibration

bench: $(VENV)/.stamp-peers  ## residuum and its peers side by side, into benchmarks/
	$(bin)/python benchmarks/run.py

docs: $(VENV)/.stamp-docs  ## the manual, into build/docs/; its figures are made by the code that it shows
	$(bin)/python -m sphinx -W --keep-going -q -b html docs build/docs

clean:  ## removes what the other targets made, the environment too
	rm -rf $(VENV) build dist demo benchmarks/figures benchmarks/results.jsonl *.egg-info .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	find models simulator doses sweeps fitting aml commands tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
