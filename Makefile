# `make` lists the targets. Each target does its own set-up: it fetches libtorch and, for tests, the tools they run.
# DEMO_ARGS is passed to `digitd demo`; DIGITD_DATA_DIR, DIGITD_LIBTORCH and LIBTORCH pass through.

# With DIGITD_TEST_STRICT=1, a Cargo.lock that does not match is an error instead of being rewritten, and a test
# that lacks its data or its tool fails instead of being skipped.
LOCKED := $(if $(DIGITD_TEST_STRICT),--locked)
BUF := scripts/buf/node_modules/.bin/buf
# The contract as callers know it. `make proto-lint` refuses what would break them.
PROTO_BASELINE := proto/baseline.binpb

.DEFAULT_GOAL := help
.PHONY: help setup libtorch tools build symbols demo test acceptance script-test fmt fmt-check lint doc proto-lint \
	proto-baseline unit asan gpu-check-cpu gpu-kit bench bench-serve image clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: libtorch tools ## fetch libtorch and the tools that tests run; quick when both are present

libtorch:
	@scripts/preflight
	@scripts/libtorch

tools:
	@scripts/tools

build: libtorch ## build target/release/digitd, stripped of its symbols
	cargo build --release $(LOCKED)

# gdb and perf find the symbols through the debug link.
symbols: libtorch ## build dist/digitd, stripped, and its symbols beside it, dist/digitd.debug
	cargo build --profile symbols --bin digitd $(LOCKED)
	@mkdir -p dist
	objcopy --only-keep-debug target/symbols/digitd dist/digitd.debug
	objcopy --strip-all --add-gnu-debuglink=dist/digitd.debug target/symbols/digitd dist/digitd

demo: build ## train, evaluate, inspect and predict, then serve (DEMO_ARGS=--exit: end instead)
	target/release/digitd demo $(DEMO_ARGS)

test: setup fmt-check lint proto-lint script-test unit gpu-check-cpu ## run every check that a change must pass

acceptance: setup ## run the long checks and benchmarks; write their figures to docs/acceptance.md
	scripts/acceptance

script-test: ## test the scripts in scripts/
	python3 -m unittest discover --start-directory tests/scripts --pattern '*_test.py'

unit: libtorch ## cargo test: unit, integration and documentation tests
	cargo test --workspace $(LOCKED)

# Apart from what `unit` builds, since the sanitizer wants every crate compiled anew.
asan: libtorch ## the tests of the fused kernels under AddressSanitizer, with a nightly toolchain
	RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/asan \
		cargo +nightly test --target x86_64-unknown-linux-gnu --lib $(LOCKED) -- nn:: optim::

# It runs the programs that `unit` builds.
gpu-check-cpu: unit ## run the checks of scripts/gpu-check on the CPU, with few images
	scripts/gpu-check --device cpu --small --kit target/debug

gpu-kit: build ## collect in gpu-kit/ what scripts/gpu-check needs on a machine with a GPU
	cargo build --release --example load $(LOCKED)
	scripts/gpu-kit

fmt: ## format the code
	cargo fmt --all

fmt-check:
	cargo fmt --all --check

lint: libtorch ## clippy, with warnings as errors
	cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings

doc: libtorch ## build the documentation of the crates, with warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps $(LOCKED)

proto-lint: tools ## lint the contract, and refuse changes of it that break callers
	@if [ -x $(BUF) ]; then $(BUF) lint proto && $(BUF) breaking proto --against $(PROTO_BASELINE) && \
	echo "proto: no lint errors, no breaking changes"; \
	else echo "skipped: proto lint: buf is not installed (scripts/tools says why)"; fi

proto-baseline: tools ## accept the contract as it is as what later changes are compared with
	$(BUF) build proto --exclude-source-info --output $(PROTO_BASELINE)

# GOMP_SPINCOUNT has the value that the program sets for itself.
bench: libtorch ## run the benchmarks; they print JSON lines and compare with nothing by themselves
	GOMP_SPINCOUNT=2000 cargo bench --bench training --bench serving --bench load --bench evaluating $(LOCKED)

bench-serve: build ## measure the server from outside, with the load generator of examples/load.rs
	cargo build --release --example load $(LOCKED)
	scripts/bench-serve

image: ## build the container image digitd
	docker build --tag digitd .

clean: ## remove what was built; libtorch and the tools stay
	cargo clean
