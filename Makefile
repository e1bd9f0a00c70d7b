# Each target says after ## what it does; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTHON_ENV := PYTHONPATH=runtime:operator:tests
BENCHES := $(subst _,-,$(basename $(notdir $(filter-out tests/bench/\_%,$(wildcard tests/bench/*.py)))))

CLUSTER ?= 0
NODES ?= 2
GRACE ?= 50

export KILL CLUSTER

.PHONY: help setup demo test check crds format bench lock wheel-test chart-check images cluster-up cluster-down test-cluster clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-zA-Z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '  make %-12s %s\n' bench-NAME 'Run one of them: $(or $(BENCHES),none yet)'

setup: ## Make .venv with everything (at once when nothing changed; WHEELS=folder for a CPU build of torch)
	@scripts/setup.sh

demo: setup ## Train on this machine: 2 servers, 3 workers, etcd (KILL=1: while each kind of member is killed)
	@$(PYTHON_ENV) $(BIN)/python -m demo

test: setup check ## All tests, a real Kubernetes among them (SLOW=1: long ones too; CLUSTER=none: without Kubernetes)
	@$(PYTHON_ENV) $(BIN)/python scripts/run_tests.py

check: setup ## ruff, mypy --strict, which way imports may point, and whether the CRD is as the models are
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PYTHONPATH=operator:runtime $(BIN)/lint-imports --no-logo --no-cache
	@$(PYTHON_ENV) $(BIN)/python -m deepseek_operator.api.crd --check .

crds: setup ## Make the CRD from the models: crds/ and the chart's copy
	@$(PYTHON_ENV) $(BIN)/python -m deepseek_operator.api.crd .

format: setup ## Let ruff write what it can
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(addprefix bench-,$(BENCHES)) ## All benchmarks; each leaves build/bench/NAME.json

bench-%: setup
	@mkdir -p build/bench && rm -f build/bench/$*.json
	@$(PYTHON_ENV) BENCH_OUT=build/bench/$*.json $(BIN)/python tests/bench/$(subst -,_,$*).py
	@test -s build/bench/$*.json || { echo "bench-$*: no build/bench/$*.json was written" >&2; exit 1; }

wheel-test: setup ## Build the wheel and install it with [local] for every Python of this machine
	@$(BIN)/python scripts/wheel_test.py

chart-check: setup ## Check the Helm chart: helm lint, helm-unittest, kubeconform, checkov (CHART_CHECK=names: only these)
	@$(PYTHON_ENV) $(BIN)/python scripts/chart_check.py

images: ## Build the images with docker or buildah (WHEELS=folder for torch's CPU build; ARCHIVES=folder: OCI archives)
	@scripts/images.sh

lock: ## Resolve pyproject.toml into requirements*.lock anew (UPGRADE=1: to the newest versions)
	@scripts/lock.sh $(if $(UPGRADE),--upgrade)

cluster-up: setup ## A real Kubernetes on this machine, without Docker (root; NODES=2 GRACE=50 CLUSTER=0)
	@[ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || scripts/cluster-packages.sh
	@$(PYTHON_ENV) $(BIN)/python -m testcluster --number $(CLUSTER) up --nodes $(NODES) --grace $(GRACE)

cluster-down: setup ## Remove it, or what is left of it
	@$(PYTHON_ENV) $(BIN)/python -m testcluster --number $(CLUSTER) down

test-cluster: setup ## Of these, those in a real Kubernetes: the one that is up, else one of their own
	@$(PYTHON_ENV) $(BIN)/python scripts/run_tests.py cluster

clean: ## Remove what was built; .venv stays
	@! ls build/cluster*/cluster.json >/dev/null 2>&1 || { echo "a test cluster is up: make cluster-down first" >&2; exit 1; }
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
