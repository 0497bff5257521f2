# Every target does its own set-up: python3 (3.11 or newer) and make are all that must be there.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= $(or $(UV_PROJECT_ENVIRONMENT),.venv)
export UV_PROJECT_ENVIRONMENT := $(VENV)
BIN := $(VENV)/bin
KEEP ?=
ARGS ?=

.PHONY: help setup binaries dev demo demo-mux demo-pipelines test test-unit test-integration test-e2e e2e bench-cluster lint format generate bench \
	clean down

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make the Python environment from uv.lock (a second run does nothing)
	@scripts/setup.sh

binaries: setup ## Find, fetch or build the cluster's and Weaviate's binaries
	@$(BIN)/python -m telecine.dev.binaries

dev: setup ## Start a cluster and Weaviate for development (telecine dev env tells how to use them)
	@$(BIN)/telecine dev up $(ARGS)

down: setup ## Stop what `make dev` started
	@$(BIN)/telecine dev down $(ARGS)

demo: setup ## Index a folder and an S3 bucket and search them; KEEP=1 leaves it running
	@$(BIN)/python -m telecine.dev.demo $(if $(KEEP),--keep) $(ARGS)

demo-mux: setup ## Index films of a Mux test server, and follow its webhooks
	@$(BIN)/python -m telecine.dev.demo_mux $(ARGS)

demo-pipelines: setup ## Run functions of a Git repository over films and texts
	@$(BIN)/python -m telecine.dev.demo_pipelines $(ARGS)

test: test-unit test-integration test-e2e ## All tests: unit, integration, then the operator under kills

test-unit: setup ## Pure tests, seconds
	@scripts/tests.sh $(BIN)/pytest tests/unit $(ARGS)

test-integration: setup binaries ## Tests against a real API server, Weaviate and S3 server
	@scripts/tests.sh $(BIN)/pytest tests/integration $(ARGS)

lint: setup ## Style, types, layers, and whether crds/ is up to date
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --cache-dir .import_linter_cache
	@$(BIN)/python -m telecine.api.crds --check
	@$(BIN)/python -m telecine.api.crds --check charts/telecine/files/crds

format: setup ## Format the code and fix what ruff can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

generate: setup ## Write crds/ and those of the chart from the models
	@$(BIN)/python -m telecine.api.crds
	@$(BIN)/python -m telecine.api.crds charts/telecine/files/crds

test-e2e: setup binaries ## The operator's stories from start to end, and kill -9 at each step of a run
	@scripts/tests.sh $(BIN)/pytest tests/e2e $(ARGS)

e2e: setup ## The chart on a real node (root, containerd), or on TELECINE_E2E_KUBECONFIG; not part of `test`
	@scripts/tests.sh $(BIN)/pytest tests/cluster --ignore tests/cluster/benchmarks -s -o timeout_func_only=true $(ARGS)

bench-cluster: setup ## What Jobs cost and how they scale, on the node of `e2e`
	@$(BIN)/pytest tests/cluster/benchmarks -s -p no:randomly -o timeout_func_only=true $(ARGS)

bench: setup binaries ## Benchmarks against the plain libraries
	@$(BIN)/pytest tests/benchmarks -s $(ARGS)

clean: ## Remove the environment and caches of this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
