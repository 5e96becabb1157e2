# The commands of a fresh machine. Each sets up .venv by itself; a second run finds it ready.
# Paths stay relative: the checkout may lie anywhere, also below a path with spaces.
PYTHON   ?= python3
PY       := .venv/bin/python
PIP      := $(PY) -m pip --disable-pip-version-check --quiet --quiet --no-input install --require-hashes
DURATION ?= 60
SEED     ?=

.DEFAULT_GOAL := help
.PHONY: help demo up test check format schemas bench image-steps clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

demo: .venv/.runtime ## three births, two of them twins, to their certificate numbers
	@$(PY) -m gateway.cli demo

up: .venv/.runtime ## everything on this machine until Ctrl-C
	@$(PY) -m gateway.cli up

test: .venv/.dev ## every test, a process a core, in a random order that SEED=... repeats; ARGS="-n 0 -x" takes one after another
	@$(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile $(if $(SEED),--randomly-seed=$(SEED)) $(ARGS)

.PHONY: test-reversed
test-reversed: .venv/.dev ## every test in one process, the last file first: nothing may need what ran before it
	@$(PY) -m pytest -n 0 --randomly-dont-reorganize --randomly-seed=$(or $(SEED),1) --files-reversed $(ARGS)

check: .venv/.dev ## format, lint, types, import rules, dependencies, generated files
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports --no-cache
	@$(PY) -m deptry .
	@$(PY) -m gateway.cli.generate --check

format: .venv/.dev ## format and mend what can be mended
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

schemas: .venv/.dev ## write the generated schemas and documents anew
	@$(PY) -m gateway.cli.generate

bench: .venv/.dev $(if $(shell command -v $${CC:-cc}),.venv-compiled/.ready) ## the benchmark, into docs/performance.md; ARGS=--quick to try, ARGS=--all for everything (45 min)
	@$(PY) bench/run.py $(ARGS)

.PHONY: peers
peers: .venv/.dev ## Node's HL7 packages, beside which `bench` measures and whose clients `test` uses
	@$(PY) bench/servers.py

.PHONY: fuzz
fuzz: .venv/.dev ## dirty messages for DURATION=60 seconds; a failure is kept in var/fuzz/
	@$(PY) tests/fuzz/fuzz.py --seconds $(DURATION) $(ARGS)

.PHONY: chaos chaos-mutants chaos-record
chaos: .venv/.dev ## kill everything for DURATION=60 seconds and balance the books; SEED=... repeats a run
	@$(PY) -m tests.chaos.run --seconds $(DURATION) --seed $(or $(SEED),0) $(ARGS)

chaos-mutants: .venv/.dev ## the harness itself: it must notice each protection that is missing
	@$(PY) -m tests.chaos.mutants $(ARGS)

chaos-record: .venv/.dev ## docs/reliability.md's tables, from the runs in tests/chaos/recorded (chaos ARGS="--json FILE")
	@$(PY) -m tests.chaos.record $(ARGS)

.PHONY: check-api
check-api: .venv/.dev ## schemathesis against a running gateway for DURATION=300 seconds, as each kind of token
	@$(PY) -m tests.contract.check_api --seconds $(if $(filter command line environment,$(origin DURATION)),$(DURATION),300) $(ARGS)

.PHONY: attack
attack: .venv/.dev ## each attack on a gateway of its own, and how it was refused; ARGS="-k D1" takes some
	@$(PY) -m tests.attack.run $(ARGS)

.PHONY: compiled test-compiled
compiled: .venv-compiled/.ready ## the gateway with a message's path compiled (needs a C compiler): .venv-compiled/bin/procot

test-compiled: compiled ## the tests of what is compiled, against the compiled build
	@PYTHONPATH="$$(echo .venv-compiled/lib/python*/site-packages):." PROCOT_COMPILED=1 \
		$(PY) -P -m pytest --import-mode=importlib -n auto --maxprocesses 4 --dist loadfile $(or $(ARGS),tests/unit tests/cases)

image-steps: .venv/.dev ## the Dockerfile's steps without a container engine
	@$(PY) tests/docker/steps.py

clean: ## remove what these commands made (the data directory var/ stays)
	rm -rf .venv .venv-compiled .mypy_cache .pytest_cache .ruff_cache .hypothesis

.venv/.python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "Procot needs Python 3.11, 3.12 or 3.13; $(PYTHON) is %d.%d. Name another: make PYTHON=python3.12 demo" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "This Python has no venv/ensurepip (on Debian: apt-get install python3-venv). Install it, or name another: make PYTHON=python3.12 demo" >&2; exit 1; }
	@echo "Making .venv and installing the pinned packages (once, under a minute) ..." >&2
	@$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/.runtime: .venv/.python requirements/runtime.txt pyproject.toml
	@$(PIP) -r requirements/runtime.txt
	@$(PY) -m pip --disable-pip-version-check --quiet --quiet --no-input install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.runtime requirements/dev.txt
	@$(PIP) -r requirements/dev.txt
	@touch $@

.venv-compiled/.ready: .venv/.dev pyproject.toml requirements/runtime.txt $(shell find gateway adapters schemas -type f -not -name '*.pyc')
	@command -v "$${CC:-cc}" > /dev/null || { echo "Compiling needs a C compiler (on Debian: apt-get install gcc); without one everything runs as plain Python" >&2; exit 1; }
	@echo "Compiling the path of a message (under two minutes) ..." >&2
	@rm -rf .venv-compiled
	@$(PYTHON) -m venv .venv-compiled
	@.venv-compiled/bin/python -m pip --disable-pip-version-check --quiet --quiet --no-input install --require-hashes -r requirements/runtime.txt
	@mkdir .venv-compiled/source && cp -R pyproject.toml README.md gateway adapters schemas .venv-compiled/source  # what lies beside a source would be taken instead of it
	@HATCH_BUILD_HOOK_ENABLE_MYPYC=1 $(PY) -m pip --disable-pip-version-check --quiet --no-input wheel --no-deps --no-build-isolation --wheel-dir .venv-compiled/wheel .venv-compiled/source
	@.venv-compiled/bin/python -m pip --disable-pip-version-check --quiet --quiet --no-input install --no-deps .venv-compiled/wheel/*.whl
	@rm -rf .venv-compiled/source
	@touch $@
