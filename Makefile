# Each target sets up what it needs by itself, in .venv. `make demo` and `make test` are all a newcomer types.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS := .venv-docs

.PHONY: demo evidence docs test test-older check lint bench gpu-wheels clean help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

# The site is built from the sources: without torch its environment is there in seconds
DOCS_NEEDS = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])
$(DOCS)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet -c constraints.txt $$($(DOCS)/bin/python -c '$(DOCS_NEEDS)')
	@touch $@

demo: $(READY)  ## train plain GRPO and MaxRL on the built-in task, evaluate both, draw the picture
	$(BIN)/trl-entropy demo --output-dir runs/demo

evidence: $(READY)  ## rebuild docs/evidence.md and its pictures from results/, without training
	$(BIN)/python -m trl_entropy.study.evidence

docs: $(DOCS)/.ready  ## the documentation site, in runs/site; a dead link or an undocumented public name fails
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict

test: $(READY)  ## the fast tests, two and a half minutes on two cores
	$(BIN)/python -m pytest -q -n auto -m "not slow and not distributed and not gpu"

# On a CPU the head of TRL 1.15 needs Triton's interpreter. The environment has the pinned TRL again afterwards
test-older: $(READY)  ## the tests of the trainer and the fast ones of the methods on the older of the two TRLs
	$(BIN)/python -m pip install --quiet "trl==1.15.*"
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -q -n auto tests/trainer tests/test_architecture.py && \
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -q -n auto -m "not slow" tests/methods; \
	status=$$?; $(BIN)/python -m pip install --quiet -c constraints.txt trl && exit $$status

lint: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint test  ## what CI runs: style, types, every test that needs no GPU
	$(BIN)/python -m pytest -q -m "(slow or distributed) and not gpu"

bench: $(READY)  ## time, memory and numerical error of the fused nucleus head, time of a loss step, about 45 minutes
	$(BIN)/python scripts/bench_head.py
	$(BIN)/python scripts/bench_step.py
	$(BIN)/python scripts/bench_error.py

GPU_PYTHON ?= 3.12
gpu-wheels:  ## what a GPU machine without a network may lack, below 64 MiB, for scripts/gpu_check.py
	$(PYTHON) scripts/gpu/collect_wheels.py --python $(GPU_PYTHON)

clean:  ## remove the environment and the runs
	rm -rf $(VENV) $(DOCS) runs
