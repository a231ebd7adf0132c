# `make study` runs the study named in config/config.yaml; `make test` runs the tests. Both set up .venv on first use.

PYTHON ?= python3
CORES ?= $(shell nproc)
BIN := .venv/bin
INSTALLED := .venv/installed

export PATH := $(CURDIR)/$(BIN):$(PATH)

MOMENTS ?= 24
SEED ?= 1

.PHONY: study report test fast-test drill lint format config lock

study: $(INSTALLED)
	snakemake --cores $(CORES)
	$(MAKE) --no-print-directory report

report: $(INSTALLED)
	snakemake --report results/report.zip --quiet

test: lint
	pytest

fast-test: $(INSTALLED)
	pytest -m "not study"

# As root on Debian: a small study on a SLURM cluster of this host, disturbed at random moments; an hour.
drill: $(INSTALLED)
	PYTHONPATH=tests/workflow python tests/slurm/drill.py --moments $(MOMENTS) --seed $(SEED) --report benchmarks/drill.md

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

format: $(INSTALLED)
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow/rules

# The study file's schema and reference, after a change to workflow/tokenshift/config.
config: $(INSTALLED)
	python workflow/scripts/config_reference.py

# requirements.lock and envs/, after a change to the dependencies in pyproject.toml.
lock: $(INSTALLED)
	python envs/lock.py

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)
