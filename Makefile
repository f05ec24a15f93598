# The targets that people use; each sets up what it needs. `make demo` is the place to start.

SHELL := /bin/sh
PYTHON := .venv/bin/python
SOAK_MINUTES ?= 60
SOAK_FLAGS ?=
CHAOS_MINUTES ?= 1
CHAOS_FLAGS ?=
SCENARIO ?=
STORE ?= postgres
PYTEST_FLAGS ?=
SQL_FLAGS ?=
TEST_PROCESSES ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo run dev test lint fmt build clean run-cluster stop-cluster bench soak chaos sql-install

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16

setup: ## make the virtual environment .venv from requirements.lock
	@bin/setup

demo: setup ## watch real containers placed, retried, cancelled and adopted, then clean up
	@$(PYTHON) -m podling.boot.demo

run: setup ## a master on embedded Postgres and two workers, until Ctrl-C
	@$(PYTHON) -m podling.boot.demo --stay

dev: setup ## master and worker in one process
	@bin/podling dev

test: setup ## all tests, with real Docker and real Postgres
	@bin/prepare-tests
	@$(PYTHON) -m pytest -n $(TEST_PROCESSES) --dist loadgroup $(PYTEST_FLAGS)

lint: setup ## ruff, mypy --strict, import-linter
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy --strict
	@$(PYTHON) -m mypy --config-file tests/mypy.ini tests bench
	@.venv/bin/lint-imports

fmt: setup ## format the code and repair what ruff can repair
	@$(PYTHON) -m ruff check --fix .
	@$(PYTHON) -m ruff format .

build: setup ## a wheel in dist/
	@$(PYTHON) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

run-cluster: setup ## a master and two workers in the background, files in var/cluster
	@bin/cluster start

stop-cluster: ## end what run-cluster started; tasks' containers go on, and it names them
	@bin/cluster stop

bench: setup ## all scenarios, or SCENARIO=lifecycle|containers|… STORE=memory|postgres
	@bin/ensure-docker && bin/make-image
	@$(PYTHON) -m bench $(SCENARIO) --store $(STORE)

soak: setup ## the long runs: an hour of faults under load, fifty kills, every fault, simulated clusters
	@bin/prepare-tests
	@$(PYTHON) -m tests.soak --minutes $(SOAK_MINUTES) $(SOAK_FLAGS)
	@PODLING_SOAK=1 $(PYTHON) -m pytest tests/e2e tests/faults --timeout 3600 $(PYTEST_FLAGS)
	@PODLING_SOAK=1 $(PYTHON) -m pytest tests/sim -k "as_long_as" -s $(PYTEST_FLAGS)

sql-install: setup ## the schema into the database DATABASE_URL, by psql; SQL_FLAGS=--broker-names
	@bin/podling db install --script $(SQL_FLAGS) | bin/podling db psql -X -q -f -

chaos: setup ## load while the database is killed and restarted, CHAOS_MINUTES=1; exit code 1 if anything is wrong
	@bin/prepare-tests
	@$(PYTHON) -m tests.soak --only PostgreSQL --minutes $(CHAOS_MINUTES) --without-docker --streams 50 \
		--warm-up 10 --idle 10 $(CHAOS_FLAGS)

clean: ## remove what was built or cached, and the stopped cluster's files; .venv stays
	@bin/cluster stop
	@bin/cluster check
	@rm -rf build dist var *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find podling tests bench cmd examples -name __pycache__ -type d -prune -exec rm -rf {} +
