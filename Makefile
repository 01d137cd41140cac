# The job engine. `make help` lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
REQUIREMENTS := pyproject.toml clients/python/pyproject.toml scripts/constraints.txt scripts/setup
SERVE_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=
FUZZ_ARGS ?= --seconds 600
SOAK_ARGS ?=
IMAGE ?= jobengine

.PHONY: help
help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | sort | expand -t 16

.PHONY: run
run: .venv/.run ## See two real jobs run: starts a server, submits them, follows them, stops it
	@$(BIN)/python examples/quickstart.py

.PHONY: serve
serve: .venv/.run ## Serve on 127.0.0.1:50051 until Ctrl-C (SERVE_ARGS='--engine fake …')
	@$(BIN)/jobengine serve $(SERVE_ARGS)

.PHONY: test
test: .venv/.dev ## Run every test (TEST_ARGS='-k watch --slow')
	$(BIN)/pytest $(TEST_ARGS)

.PHONY: check
check: .venv/.dev .venv-proto/.proto ## Lint, check types, layers, protos and generated code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python scripts/unasync --check
	$(BIN)/python scripts/metrics-docs --check
	scripts/proto --check python
	.venv-proto/bin/buf lint protos
	scripts/breaking
	scripts/check-minimum

.PHONY: test-clients
test-clients: .venv/.dev ## Play the scenarios by the clients of all languages whose tools are here
	$(BIN)/pytest tests/clients/test_scenarios.py tests/clients/test_languages.py $(TEST_ARGS)

.PHONY: check-clients
check-clients: .venv-proto/.proto ## Lint, check and hold against the protos the clients in Go, TypeScript and Java
	scripts/proto --check go typescript java
	$(MAKE) --no-print-directory -C clients/go check
	$(MAKE) --no-print-directory -C clients/typescript check
	$(MAKE) --no-print-directory -C clients/java check

.PHONY: proto
proto: .venv-proto/.proto ## Generate the code of all clients anew from protos/
	scripts/proto

.PHONY: format
format: .venv/.dev ## Format the Python code, and generate the sync client from the async one
	$(BIN)/python scripts/unasync
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: bench
bench: .venv/.dev ## Measure speed and memory beside references (BENCH_ARGS='--quick')
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: soak
soak: .venv/.dev ## Keep a server busy for an hour, and see whether it stays as it is (SOAK_ARGS='--minutes 5')
	$(BIN)/python -m benchmarks.soak $(SOAK_ARGS)

.PHONY: image
image: ## Build the server's image (IMAGE=jobengine), from packages fetched beforehand where 'make wheels' was run
	docker build -f deploy/docker/Dockerfile -t $(IMAGE) .

.PHONY: wheels
wheels: ## Fetch all packages that the image takes, so that it builds without a network
	deploy/docker/fetch-wheels

.PHONY: sbom
sbom: ## List what an installation consists of, as CycloneDX, in sbom.json
	scripts/sbom sbom.json

.PHONY: fuzz
fuzz: .venv/.dev ## Send every RPC random and mutated messages for ten minutes (FUZZ_ARGS='--seconds 60 --seed 1')
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

.PHONY: upgrade
upgrade: ## Take the newest versions of all dependencies, and note them
	rm -rf .venv
	: > scripts/constraints.txt
	scripts/setup dev
	{ echo "# The versions that were tested together; 'make upgrade' writes this file anew."; \
	  $(BIN)/pip freeze --exclude-editable; } > scripts/constraints.txt

.PHONY: clean
clean: ## Remove everything that was made here
	rm -rf .venv .venv-proto .venv-minimum .venv-sbom .venv-release deploy/docker/wheels/*.whl .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	rm -rf clients/typescript/{node_modules,build,dist} clients/java/{target,.tools}
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.run: $(REQUIREMENTS)
	@echo "making the environment in .venv ..." >&2
	@scripts/setup run
	@touch $@

.venv/.dev: $(REQUIREMENTS)
	@echo "making the environment for development in .venv ..." >&2
	@scripts/setup dev
	@touch .venv/.run $@

.venv-proto/.proto: scripts/requirements-proto.txt scripts/setup
	@echo "making the environment for code generation in .venv-proto ..." >&2
	@scripts/setup proto
	@touch $@
