# What people and CI run. `make` alone lists it.

VENV = .venv
PY = $(VENV)/bin/python
NODE_FOLDER = build/node
# Checks look at the code, not at whatever stores the environment names.
EMBEDDED = env DATABASE_URL= REDIS_URL= ORCHESTRATOR_ENV=development DATA_DIR=build/data

.DEFAULT_GOAL = help
.PHONY: help up lint quick cov test check ci demo bench bench-large faults schema lock clean install install-dev node-modules

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 24

up: install ## Start the service on http://127.0.0.1:8000 (PORT, HOST, DATA_DIR; ARGS="--help" for more)
	@exec $(PY) manage.py up $(ARGS)

quick: install-dev ## Run the tests that start no server, on SQLite (ARGS="-k approve" for some)
	@$(EMBEDDED) $(PY) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not serial" tests/integration tests/unit $(ARGS)

cov: install-dev ## Show what the tests that start no server leave out of services, rules and core
	@$(MAKE) --no-print-directory quick ARGS="--cov $(ARGS)"

test: install-dev node-modules ## Run all tests but those that kill processes or measure times, on every store there is (ARGS likewise)
	@exec $(PY) -m tests.stores $(ARGS)

lint: install-dev ## The checks that run no test: lint, format, types, imports
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(EMBEDDED) $(PY) -m mypy
	$(VENV)/bin/lint-imports

check: install-dev node-modules lint ## All that CI runs: lint, migrations, schema, every test on every store, coverage
	$(EMBEDDED) $(PY) manage.py makemigrations --check --dry-run
	@mkdir -p build
	$(EMBEDDED) $(PY) manage.py spectacular --validate --fail-on-warn --file build/openapi.yaml
	diff -u tests/contract/openapi.yaml build/openapi.yaml || { echo "The schema changed: make schema" >&2; exit 1; }
	@exec $(PY) -m tests.stores --all $(or $(ARGS),--cov)

ci: ## Install what this machine lacks (Debian, Ubuntu), then make check
	@exec .ci/run

demo: install ## A day in the life: three agents work against the running server (ARGS="--approve")
	@exec $(PY) -m demo $(ARGS)

bench: install-dev ## Measure throughput and latency (ARGS="--against REV": beside another commit, in turn)
	@exec $(PY) -m tests.bench $(ARGS)

bench-large: install-dev ## Measure every call among 1,000,000 tasks (20 minutes; ARGS="--servers" for PostgreSQL)
	@exec $(PY) -m tests.bench.large $(ARGS)

faults: install-dev ## Kill servers under load and count what is lost
	@exec $(PY) -m tests.faults $(ARGS)

schema: install-dev ## Renew tests/contract/openapi.yaml
	$(EMBEDDED) $(PY) manage.py spectacular --validate --fail-on-warn --file tests/contract/openapi.yaml

lock: install-dev ## Renew both lock files from pyproject.toml (ARGS="--upgrade" for newer versions)
	@$(PY) -m venv build/uv && build/uv/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/uv/bin/uv $(COMPILE) $(ARGS) pyproject.toml -o requirements.lock
	build/uv/bin/uv $(COMPILE) $(ARGS) -c requirements.lock --extra dev pyproject.toml -o requirements-dev.lock
COMPILE = pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --no-emit-find-links

clean: ## Remove what can be made again; data/ stays
	rm -rf $(VENV) build node_modules *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# --- The virtual environment ---------------------------------------------------------------------

install:
	@$(call installed,requirements.lock)

install-dev:
	@$(call installed,requirements-dev.lock)

# PYTHON names another interpreter: make up PYTHON=/opt/python3.12/bin/python3
PYTHONS = $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11)

# Shell: put a lock's packages into .venv, unless the copy kept there says that they are in. A lock
# names every package (--no-deps): pip 23 looks past the pin of one asked for with an extra otherwise.
define installed
if [ -x $(PY) ] && cmp -s $(1) $(VENV)/$(1); then exit 0; fi; \
$(PY) -m pip --version >/dev/null 2>&1 || { $(new_environment); }; \
echo "Installing the packages of $(1) (once, about 20 seconds) ..."; \
$(PY) -m pip install --quiet --disable-pip-version-check --no-input --no-deps --require-hashes -r $(1) && cp $(1) $(VENV)/$(1)
endef

# Shell: make .venv with the first Python that is new enough.
define new_environment
for python in $(PYTHONS); do \
  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "Python 3.11 or newer is needed, and none of these is: $(PYTHONS). Name one: make up PYTHON=/path/to/python3" >&2; exit 1; \
fi; \
if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
  echo "Python cannot make virtual environments here. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
fi; \
echo "Making $(VENV) with $$("$$found" --version) ..."; \
"$$found" -m venv --clear $(VENV) || exit 1
endef

# --- What the Node examples of the guide import; without it their tests are skipped --------------

NPM = $$(command -v timeout >/dev/null && echo timeout 120) npm install --silent --no-audit --no-fund --fetch-retries=0

node-modules:
	@[ -d $(NODE_FOLDER)/node_modules/axios ] || ! command -v npm >/dev/null || { \
	  mkdir -p $(NODE_FOLDER) && $(NPM) --prefix $(NODE_FOLDER) axios@1 jsonwebtoken@9 </dev/null \
	  || echo "npm could not install axios and jsonwebtoken: the tests of the Node examples are skipped."; }
