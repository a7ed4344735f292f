# Each target makes the environment it needs in .venv; nothing is installed elsewhere.
# PYTHON picks the interpreter: make test PYTHON=python3.13; PORT and DATA those of the site: make serve PORT=8001

PYTHON ?= $(shell for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do \
	$$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& { command -v $$candidate; break; }; done)
PORT ?= 8000
DATA ?= .demo
# an interpreter that was asked for gets an environment of its own
VENV := .venv$(if $(filter command line environment,$(origin PYTHON)),/$(notdir $(PYTHON)))
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo serve test lint bench chaos docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/example.stamp  ## the whole way of a notification, shown on the terminal
	@$(BIN)/python example_project/demo.py

serve: $(VENV)/example.stamp  ## the example site on http://localhost:8000, for a real browser
	@$(BIN)/python example_project/serve.py --port $(PORT) --data $(DATA)

test: $(VENV)/tox.stamp  ## the test suite on SQLite, without any service
	@echo "The suite takes about two minutes on two cores."
	$(BIN)/python -m tox run

lint: $(VENV)/tox.stamp  ## ruff and mypy
	$(BIN)/python -m tox run -e lint

docs: $(VENV)/tox.stamp  ## build the documentation
	$(BIN)/python -m tox run -e docs

bench: $(VENV)/bench/stamp  ## compare with other ways to send, then at scale (BENCH="--quick": a small part)
	$(VENV)/bench/bin/python -m benchmarks.speed $(BENCH)

chaos: $(VENV)/example.stamp  ## try to lose a notification (takes minutes)
	$(BIN)/python -m benchmarks.chaos

clean:  ## remove what the other targets made
	rm -rf $(VENV) .tox .coverage .coverage.* build dist

$(VENV)/tox.stamp: | $(BIN)/python
	$(BIN)/python -m pip install --quiet "tox>=4.22"
	@touch $@

$(VENV)/example.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing into $(VENV), for about half a minute."
	@$(BIN)/python -m pip install --quiet --editable ".[q2,curl]" \
	|| { echo "pycurl cannot be installed here: the portable transport is used."; \
	     $(BIN)/python -m pip install --quiet --editable ".[q2]"; }
	@touch $@

$(VENV)/bench/stamp: benchmarks/requirements.txt benchmarks/package.json pyproject.toml | $(BIN)/python
	$(BIN)/python -m venv $(VENV)/bench
	$(VENV)/bench/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	if command -v npm >/dev/null; then npm install --silent --no-package-lock --prefix benchmarks; fi
	@touch $@

$(BIN)/python: | $(VENV)
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer with venv is needed (Debian: apt install python3 python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "$(CURDIR)" > $(VENV)/checkout

$(VENV):
	@mkdir -p $@ 2>/dev/null || { echo "$(CURDIR) cannot be written to: copy the checkout to a folder of yours." >&2; exit 1; }

# an environment remembers where it was made: after a move its commands lead nowhere
ifneq ($(filter-out clean help,$(or $(MAKECMDGOALS),help)),)
ifneq ($(wildcard $(VENV)/checkout),)
ifneq ($(shell cat $(VENV)/checkout),$(CURDIR))
$(error This checkout was moved or copied. Run "make clean" once, then this again)
endif
endif
endif
