# make demo   the main job: video -> dataset -> trained network -> pictures (build/demo)
# make test   lint, types and all tests
# make fuzz   damaged clips and damaged datasets (FUZZ_MUTANTS of each): no crash, no hang, no silent success
# make accuracy  the demo's figures, joint errors, the worth of each term of the fit, agreement of frame rates (build/accuracy.json)
# make docs   the pages of docs/ and the API as a site (build/site), no warning allowed
# make bench  benchmarks with ratios (build/benchmarks.json)
# make profile  where the CPU time of a clip goes, part by part (CLIP=film.mp4; the demo clip without it)
# make locks  requirements.lock and docker/*.lock, resolved again from the ranges in pyproject.toml
# make images the Dockerfiles, linted and carried out in fresh environments, without Docker
# make memory peak memory of a worker by a film's size, rate and length; fails above 1 GB (build/memory.json)
# make cluster  the same dataset by every engine: loop, workers, Beam, Spark, Slurm, S3 (installs Debian's slurm-wlm;
#             WITHOUT="spark s3" leaves ways out)
# make growth what a dataset costs by its units: 100, 1,000 and 10,000 (an hour; build/growth.json)
# make soak   kill -9 at 20 random moments of a run, resume each time, compare (half an hour)

SHELL := /bin/bash
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Plain `torch` from PyPI brings gigabytes of CUDA on Linux. Where no NVIDIA driver is seen, the CPU build is
# tried first; if that index cannot be reached, PyPI's own build does.
TORCH := torch==2.13.0
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BENCH_PEER := webdataset==1.0.2
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
DEMO := build/demo
FIT_MINUTES ?= 3
FUZZ_MUTANTS ?= 500

.PHONY: accuracy cluster docs growth images locks memory soak demo test lint typecheck unit fuzz bench profile fetch clean \
	install

install: $(STAMP)

$(STAMP): pyproject.toml requirements.lock tools/make_venv.py
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) tools/make_venv.py $(VENV)
	@$(PIP_INSTALL) --require-hashes --no-deps --requirement requirements.lock
	@if command -v nvidia-smi >/dev/null 2>&1; then $(PIP_INSTALL) "$(TORCH)"; else \
	  $(PIP_INSTALL) --retries 0 --timeout 10 --index-url $(TORCH_CPU_INDEX) "$(TORCH)" >/dev/null 2>&1 || { \
	  echo "$(TORCH_CPU_INDEX) gives no CPU build of $(TORCH): taking PyPI's build, with 4 GB of CUDA libraries."; \
	  echo "TORCH_CPU_INDEX=URL names another index."; \
	  $(PIP_INSTALL) "$(TORCH)"; }; fi
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

locks: $(STAMP)
	@$(BIN)/python tools/make_locks.py

fetch: $(STAMP)
	@$(BIN)/python -m pipeline fetch

demo: fetch
	@FIT_MINUTES=$(FIT_MINUTES) $(BIN)/python tools/demo.py $(DEMO)

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

unit: fetch
	@$(ONE_THREAD) $(BIN)/python -m pytest -n 3 --dist loadfile tests

test: lint unit

docs: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "wrote build/site: open build/site/index.html"

fuzz: fetch
	@FUZZ_MUTANTS=$(FUZZ_MUTANTS) $(ONE_THREAD) $(BIN)/python -m pytest -s tests/fuzz

bench: fetch
	@mkdir -p build
	@$(BIN)/python -c 'import webdataset' 2>/dev/null || { echo "installing $(BENCH_PEER), a peer of the benchmarks"; \
	  $(PIP_INSTALL) $(BENCH_PEER); }
	@$(ONE_THREAD) $(BIN)/python -m tests.benchmarks

profile: fetch
	@$(ONE_THREAD) $(BIN)/python -m tests.benchmarks.stage_costs $(if $(CLIP),"$(CLIP)")

accuracy: fetch
	@$(ONE_THREAD) $(BIN)/python -m tests.accuracy

images: $(STAMP)
	@$(BIN)/python -m tests.images

memory: fetch
	@$(ONE_THREAD) $(BIN)/python -m tests.soak.memory

cluster: fetch
	@command -v slurmctld >/dev/null || [ -x /usr/sbin/slurmctld ] || $(AS_ROOT) apt-get install --yes --quiet slurm-wlm
	@$(ONE_THREAD) $(BIN)/python -m pytest tests/cluster
	@$(ONE_THREAD) $(BIN)/python -m tests.cluster $(if $(WITHOUT),$(addprefix --without ,$(WITHOUT)))

growth: fetch
	@$(ONE_THREAD) $(BIN)/python -m tests.growth

soak: fetch
	@$(ONE_THREAD) $(BIN)/python -m tests.soak

clean:
	rm -rf build $(VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache
