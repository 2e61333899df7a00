# Every target makes what it needs: the Python environment in .venv, anvil and the Solidity compiler in node_modules.
# Set-up speaks on stderr, so that stdout carries the result alone; the second run finds it all done.

# Tests start hundreds of processes: where an environment forbids to keep what is compiled, each of them compiles it all.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
BIN := .venv/bin
PYTHON_READY := .venv/.ready
NODE_READY := node_modules/.ready
ANVIL_VERSION := 1.7.1
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-config \
	--no-emit-index-url --no-header

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench chaos soak mutations contracts lock clean

help:
	@echo "make demo [ARGS=...]   the daemon against a local chain; ARGS as in listener demo --help"
	@echo "make test [ARGS=...]   all tests, on every core; ARGS go to pytest"
	@echo "make lint              ruff, mypy, import-linter"
	@echo "make bench [ARGS=...]  the daemon against a plain script, in tables; ARGS as in python -m bench --help"
	@echo "make chaos [ARGS=...]  the daemon killed at every step of its work; ARGS as in python -m chaos --help"
	@echo "make soak [ARGS=...]   an hour of a chain in minutes: memory and open files; ARGS as in python -m chaos.soak --help"
	@echo "make mutations [ARGS=...]  take out one protection after the other: a test fails each time"
	@echo "make contracts         compile the contracts again"
	@echo "make lock [ARGS=...]   pin the dependencies again; ARGS=--upgrade takes newer versions"
	@echo "make clean             remove what make made"

demo: $(PYTHON_READY) $(NODE_READY)
	@$(BIN)/listener demo $(ARGS)

test: $(PYTHON_READY) $(NODE_READY)
	@$(BIN)/pytest -n auto --dist worksteal $(ARGS)

lint: $(PYTHON_READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(PYTHON_READY) $(NODE_READY)
	@$(BIN)/python -m bench $(ARGS)

chaos: $(PYTHON_READY) $(NODE_READY)
	@$(BIN)/python -m chaos $(ARGS)

soak: $(PYTHON_READY) $(NODE_READY)
	@$(BIN)/python -m chaos.soak $(ARGS)

mutations: $(PYTHON_READY) $(NODE_READY)
	@$(BIN)/python -m chaos.mutate $(ARGS)

contracts: $(NODE_READY)
	node listener/devnet/contracts/compile.mjs .

lock: $(PYTHON_READY)
	$(COMPILE) --output-file requirements.txt $(ARGS)
	$(COMPILE) --extra dev --constraint requirements.txt --output-file requirements-dev.txt $(ARGS)
	npm install --package-lock-only --loglevel=error

clean:
	rm -rf .venv node_modules build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

$(PYTHON_READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: $(PYTHON) is missing or older than 3.11; name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "make: setting up .venv" >&2
	@$(PYTHON) -m venv .venv >&2 || { rm -rf .venv; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >&2
	@touch $@

# npm's lock file can hold anvil for one platform only, linux-amd64; the others get their own package at the same version.
$(NODE_READY): package-lock.json
	@command -v npm >/dev/null || { echo "make: npm is missing; install Node 20 or newer" >&2; exit 1; }
	@echo "make: setting up node_modules" >&2
	@npm ci --loglevel=error >&2
	@test -e node_modules/.bin/anvil || npm install --no-save --loglevel=error \
		"@foundry-rs/anvil-$$(node -p 'process.platform + "-" + process.arch.replace("x64", "amd64")')@$(ANVIL_VERSION)" >&2
	@touch $@
