# `make study` runs the study named in config/config.yaml; `make test` runs the tests. Both set up .venv on first use.

PYTHON ?= python3
CORES ?= $(shell nproc)
BIN := .venv/bin
INSTALLED := .venv/installed

export PATH := $(CURDIR)/$(BIN):$(PATH)

# The study that audit, figure and crate are about.
STUDY ?= $(shell sed -n 's/^study: *//p' config/config.yaml)
MOMENTS ?= 24
SEED ?= 1

.PHONY: study report audit figure crate test fast-test drill lint format config lock

study: $(INSTALLED)
	snakemake --cores $(CORES)
	$(MAKE) --no-print-directory report

report: $(INSTALLED)
	snakemake --cores 1 --quiet all --force audit_page > /dev/null
	snakemake --report results/report.zip --quiet all -- all audit_page

# Is every file what its record says? With FIGURE=name: the chain of that figure, as a tree.
audit: $(INSTALLED)
	python workflow/scripts/audit.py --study $(STUDY) $(if $(FIGURE),--figure $(FIGURE))

# One figure made again from its inputs; with FROM_SCRATCH=1 in a clean folder, to compare its bytes.
figure: $(INSTALLED)
	$(if $(FIGURE),,$(error which figure? make figure FIGURE=sparsity))
	python workflow/scripts/rebuild.py --study $(STUDY) --figure $(FIGURE) --cores $(CORES) $(if $(FROM_SCRATCH),--from-scratch)

# Results with their provenance as an RO-Crate; files above 50 MB are described, not copied.
crate: $(INSTALLED)
	python workflow/scripts/crate.py --study $(STUDY) --largest-mb 50 --output results/$(notdir $(basename $(STUDY)))-crate.zip

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
