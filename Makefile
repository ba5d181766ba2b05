# `make` lists the targets. Each does its own set-up: libtorch and, for tests, the tools they drive.
# DEMO_ARGS goes to `digitd demo`; DIGITD_DATA_DIR, DIGITD_LIBTORCH and LIBTORCH pass through.

# With DIGITD_TEST_STRICT set, a Cargo.lock that does not match is an error instead of being rewritten, and what
# cannot be tested fails instead of being skipped.
LOCKED := $(if $(DIGITD_TEST_STRICT),--locked)
BUF := scripts/buf/node_modules/.bin/buf

.DEFAULT_GOAL := help
.PHONY: help setup libtorch tools build demo test script-test fmt fmt-check lint proto-lint unit gpu-check-cpu gpu-kit bench \
	bench-serve clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: libtorch tools ## fetch libtorch and the tools that tests drive; quick when all is there

libtorch:
	@scripts/preflight
	@scripts/libtorch

tools:
	@scripts/tools

build: libtorch ## build target/release/digitd
	cargo build --release $(LOCKED)

demo: build ## train, evaluate, inspect and predict, then serve (DEMO_ARGS=--exit: then end)
	target/release/digitd demo $(DEMO_ARGS)

test: setup fmt-check lint proto-lint script-test unit gpu-check-cpu ## everything that must pass before a change is merged

script-test: ## the scripts of the set-up, against wheels of their own
	python3 -m unittest discover --start-directory tests/scripts --pattern '*_test.py'

unit: libtorch ## cargo test: unit, integration and documentation tests
	cargo test $(LOCKED)

# After `unit`, which builds the programs that it runs.
gpu-check-cpu: unit ## the checks of scripts/gpu-check on the CPU, with few images
	scripts/gpu-check --device cpu --small --kit target/debug

gpu-kit: build ## put what scripts/gpu-check needs on a machine with a GPU into gpu-kit/
	cargo build --release --example load $(LOCKED)
	scripts/gpu-kit

fmt: ## format the code
	cargo fmt

fmt-check:
	cargo fmt --check

lint: libtorch ## clippy, warnings refused
	cargo clippy --all-targets $(LOCKED) -- -D warnings

proto-lint: tools ## buf lint of the contract
	@if [ -x $(BUF) ]; then cd proto && ../$(BUF) lint && echo "proto: lint clean"; \
	else echo "skipped: proto lint: buf is not installed (scripts/tools says why)"; fi

# GOMP_SPINCOUNT as the program sets it for itself.
bench: libtorch ## measure; compares with nothing by itself
	GOMP_SPINCOUNT=2000 cargo bench --bench training --bench serving --bench load --bench evaluating $(LOCKED)

bench-serve: build ## measure the server from outside, with the load generator that scripts/bench-serve names
	scripts/bench-serve

clean: ## remove what was built; libtorch and the tools stay
	cargo clean
