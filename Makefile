# Everything a developer does. `make` alone lists it.
.DEFAULT_GOAL := help
.SUFFIXES:

PORT_BASE ?= 8000
STATE_DIR ?= .run
# Profiles of docker-compose.yml beside the demonstration, such as: make up PROFILES=monitoring
PROFILES ?=
export PORT_BASE STATE_DIR PROFILES

PYTHON := .venv/bin/python
SERVICES := points-ledger sso-issuer partner-onboarding token-service
SOURCES := shared/src $(wildcard services/*/src deploy/*/src)
# It stays on this machine: no statistics, no look-up of versions, no rules but ours.
SEMGREP := --metrics=off --disable-version-check
# Arguments for pytest, such as: make test T="services/points-ledger -k hold -n 0"
T ?=
D ?=
M ?=
F ?=
SQUAWK := lint/.venv/bin/squawk --config lint/migrations/squawk.toml
CLIENT_TYPES := lint/.venv/bin/datamodel-codegen --input clients/schemas.json --input-file-type openapi --formatters black isort \
	--output clients/python/src/points_client/schemas.py --output-model-type typing.TypedDict --target-python-version 3.11 \
	--use-standard-collections --use-union-operator --use-schema-description --use-field-description \
	--enum-field-as-literal all --disable-timestamp
SECONDS ?= 60
SEED ?= 1

.PHONY: help set-up run demo up down test drills history mutants failover bench lint format docs sbom client-types clean $(addprefix migrate-,$(SERVICES))

help: ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 28
	@printf '  make migrate-<service>\tbring a service'"'"'s database up to date ($(SERVICES))\n' | expand -t 28

set-up: ## install everything into .venv (the others do that by themselves)
	@deploy/local/set-up

run: set-up ## start the whole platform (PORT_BASE=8000, STATE_DIR=.run), until Ctrl-C
	@$(PYTHON) -m local_platform run

demo: set-up ## show the journey of points on the running platform, step by step
	@$(PYTHON) -m local_platform demo

up: set-up ## start the whole platform in containers, by https; needs Docker (PROFILES=monitoring adds dashboards)
	@$(PYTHON) -m local_platform up

down: set-up ## stop and remove the containers; the data stay
	@$(PYTHON) -m local_platform down

test: set-up ## run all tests (T="…" for arguments of pytest)
	@CHROMIUM="$$($(PYTHON) -m local_platform browser)" && export CHROMIUM && $(PYTHON) -m pytest -n 2 --no-loadscope-reorder $(T)

drills: set-up ## try what needs Debian's programs, and install those (D="…" for arguments of pytest)
	@$(PYTHON) -m pytest drills $(D)

history: set-up ## attack two ledgers and check what they answered (SECONDS=60, SEED=1)
	@$(PYTHON) -W error -m history run --seconds $(SECONDS) --seed $(SEED)

mutants: set-up ## put bugs into copies of the ledger, each of which the history checker must find (M="…" for some)
	@$(PYTHON) -W error -m history mutants $(M)

failover: set-up ## let three nodes of PostgreSQL under Patroni fail beneath the platform; installs Debian's etcd and HAProxy (F="…" for some faults)
	@deploy/local/set-up deploy/scale
	@$(PYTHON) -W error -m deploy.scale $(F)

bench: set-up ## measure requests a second
	@$(PYTHON) -m benchmarks

lint: set-up ## check style, types, who imports whom, and rules for security
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy shared/src testing/src $(wildcard history/*.py deploy/scale/*.py) benchmarks docs $(wildcard services/*/src deploy/*/src) clients/python/src clients/schemas.py
	.venv/bin/lint-imports
	@deploy/local/set-up lint
	@$(MAKE) --no-print-directory lint/.venv/.rules-tested lint/.venv/.clean lint/.venv/.migrations-clean lint/.venv/.openapi-clean lint/.venv/.client-types-clean

# Each rule finds what it is to find in the examples beside it, and nothing else there.
lint/.venv/.rules-tested: $(wildcard lint/semgrep/*) lint/uv.lock
	lint/.venv/bin/semgrep scan --test $(SEMGREP) lint/semgrep
	@touch $@

# What changed since these last found nothing; everything, where the rules changed.
lint/.venv/.clean: $(shell find $(SOURCES) -name '*.py') $(wildcard lint/semgrep/*) lint/pyproject.toml lint/uv.lock
	lint/.venv/bin/bandit --quiet --recursive --configfile lint/pyproject.toml $(if $(filter lint/%,$?),$(SOURCES),$?)
	lint/.venv/bin/semgrep scan --error --quiet $(SEMGREP) --config lint/semgrep $(if $(filter lint/%,$?),$(SOURCES),$?)
	@touch $@

# New migrations stop no request, and the version before runs on with them. What is unsafe on purpose is found, each line.
lint/.venv/.migrations-clean: $(wildcard services/*/src/*/migrations/versions/*.py) $(wildcard lint/migrations/*) lint/uv.lock
	@test "$$($(SQUAWK) --reporter gcc lint/migrations/unsafe.sql | grep -c '^lint/migrations/unsafe.sql:')" -eq 7
	$(PYTHON) lint/migrations/render.py lint/.venv/migrations
	$(SQUAWK) lint/.venv/migrations/*.sql
	@touch $@

# The documents for integrators, where anything changed that they are made from.
lint/.venv/.openapi-clean: $(shell find $(SOURCES) -name '*.py') shared/src/shared/codes.toml docs/openapi_rules.py
	$(PYTHON) docs/openapi_rules.py
	@touch $@

# The clients' types are what these documents give.
lint/.venv/.client-types-clean: lint/.venv/.openapi-clean $(wildcard clients/schemas.*) clients/python/src/points_client/schemas.py lint/uv.lock
	$(PYTHON) clients/schemas.py --check
	$(CLIENT_TYPES) --check
	@touch $@

format: set-up ## put the code into its form
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

docs: set-up ## write the settings tables of docs/settings.md anew from the code
	@$(PYTHON) docs/settings_tables.py

# The service reads its own environment, such as LEDGER_DATABASE_URL.
$(addprefix migrate-,$(SERVICES)): migrate-%: set-up
	@$(PYTHON) -m $(subst -,_,$*) migrate

sbom: set-up ## write what each image is made of to sbom/, as CycloneDX
	@$(PYTHON) -m local_platform sbom sbom

client-types: set-up ## generate the types of the Python client anew (for TypeScript: npm run types, in clients/typescript)
	@deploy/local/set-up lint
	$(PYTHON) clients/schemas.py
	$(CLIENT_TYPES)

clean: ## remove what was installed and built (the data in STATE_DIR stay)
	rm -rf .venv lint/.venv deploy/scale/.venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-artefacts sbom
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
