# millstream: every task of the project, each with its line in `make help`.
#
# Both `make demo` and `make test` set up .venv by themselves: Python >= 3.11 and a Rust toolchain are enough.

PYTHON ?= python3
OUT ?= demo-output
VENV := .venv
BIN := $(VENV)/bin
FRAMEWORKS := .venv-frameworks
RUST := $(shell find rust -name '*.rs' -o -name 'Cargo.toml') Cargo.toml Cargo.lock

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-rust test-python test-cluster test-frameworks check format lint types stubs docs names swarm workloads bench bench-core count-core profile-core clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/installed-test ## Make .venv with everything the tests need
demo: $(VENV)/installed-demo ## Run the main job on real video with real models; OUT=folder for the Parquet
	$(BIN)/python examples/demo.py --out $(OUT)

test: test-rust test-python ## Run all tests

test-rust: ## Run the tests of the scheduler, the simulator and the bindings
	cargo test --workspace --quiet

test-python: $(VENV)/installed-test ## Run the tests of the library, on both backends
	$(BIN)/python -m pytest

test-cluster: $(VENV)/installed-test ## Run the tests on several raylets (minutes)
	$(BIN)/python -m pytest -m cluster tests/cluster

# Each in a process of its own: torch and TensorFlow bring an LLVM each, and JAX warns of forks.
test-frameworks: $(FRAMEWORKS)/installed ## Run the tests with torch, JAX and TensorFlow, in an environment of their own
	for library in torch jax tensorflow; do \
	  $(FRAMEWORKS)/bin/python -m pytest -m frameworks tests/frameworks/with_$$library || exit 1; \
	done

check: lint types docs test ## Run every check: lints, types, stubs, docs and tests

lint: $(VENV)/installed-test ## Check format and lints, Rust and Python
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/installed-test ## Check Python's types, and the extension's stubs against the extension
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml millstream._core \
	  $$($(BIN)/python -c 'import sys; sys.path.insert(0, "tools"); import stubs; print(*(f"millstream.{name}" for name in stubs.MODULES))') \
	  --allowlist tests/stubtest-allowlist.txt

stubs: $(VENV)/installed-test ## Write the stubs of the modules whose functions take options, and of the extension's snapshots
	$(BIN)/python tools/stubs.py
	$(BIN)/python tools/core_stub.py

docs: $(VENV)/installed-test ## Build the site (target/site) and the Rust documentation; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -n -q -b html -d target/site-doctrees docs target/site
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

names: $(VENV)/installed-test ## Write the tables of Ray Data's names (docs/from-ray-data.md), and print how many are here
	$(BIN)/python tools/names.py

format: $(VENV)/installed-test ## Format everything
	cargo fmt --all
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

swarm: $(VENV)/installed-test ## Run the simulator on SEEDS random worlds (default 100000)
	$(BIN)/python -m millstream.sim swarm --seeds $(or $(SEEDS),100000)

workloads: $(VENV)/installed-test ## Simulate the published workloads: as they are, with less memory, with jitter, on several nodes
	$(BIN)/python -m millstream.sim workloads
	$(BIN)/python -m millstream.sim workloads --half
	$(BIN)/python -m millstream.sim workloads --least
	$(BIN)/python -m millstream.sim workloads --jitter
	$(BIN)/python -m millstream.sim workloads --spread

bench: $(VENV)/installed-bench ## Measure the engine beside its peer (minutes)
	$(BIN)/python benches/hetero_sleep.py
	$(BIN)/python benches/small_blocks.py
	$(BIN)/python benches/wide.py
	$(BIN)/python benches/text_files.py
	$(BIN)/python benches/tiny_blocks.py
	$(BIN)/python benches/block_size_sweep.py
	$(BIN)/python benches/fixed_cost.py
	$(BIN)/python benches/slow_consumer.py
	$(BIN)/python benches/slow_call.py
	$(BIN)/python benches/pool_and_reader.py
	$(BIN)/python benches/trace_cost.py
	$(BIN)/python benches/written_files.py
	$(BIN)/python benches/parquet.py
	$(BIN)/python benches/images.py
	$(BIN)/python benches/exchanges.py
	$(BIN)/python benches/on_cluster.py
	$(BIN)/python benches/replayed.py
	$(BIN)/python benches/resume.py

bench-core: $(VENV)/installed-test ## Measure what an event costs the scheduler, in Rust and through Python (minutes)
	cargo bench --package millstream-sim --bench core
	$(BIN)/python -m millstream.sim bench

count-core: ## Count the scheduler's instructions in one run, which no noise disturbs (needs valgrind)
	@if ! command -v valgrind > /dev/null; then \
	  echo 'count-core: SKIPPED, nothing was counted: valgrind is not installed' >&2; \
	else \
	  cargo build --release --quiet --package millstream-sim --example farm && \
	  valgrind --quiet --tool=callgrind --callgrind-out-file=target/farm.callgrind --collect-atstart=no \
	    '--toggle-collect=*counted_step*' target/release/examples/farm 100 50000 > target/farm.json && \
	  $(PYTHON) -c 'import json, re; \
	    events = json.load(open("target/farm.json"))["events"]; \
	    total = int(re.search(r"^(?:summary|totals): (\d+)", open("target/farm.callgrind").read(), re.M)[1]); \
	    print(f"{total:,} instructions for {events:,} events: {total / events:,.0f} each")'; \
	fi

profile-core: ## Draw where the scheduler's time goes as a flame graph: target/farm.svg
	CARGO_PROFILE_RELEASE_DEBUG=line-tables-only FLAMEGRAPH=target/farm.svg \
	  cargo run --release --quiet --package millstream-sim --features profile --example farm --target-dir target/profile
	@echo target/farm.svg

clean: ## Remove what was built, .venv included
	rm -rf $(VENV) $(FRAMEWORKS) target demo-output .ruff_cache .mypy_cache .pytest_cache .hypothesis

# One environment, more in it as needed. An editable install builds the extension in release mode.
$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("millstream needs Python >= 3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-demo: EXTRAS := demo
$(VENV)/installed-test: EXTRAS := test,check
$(VENV)/installed-bench: EXTRAS := test,check,bench
$(VENV)/installed-%: $(BIN)/python pyproject.toml constraints.txt $(RUST)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

$(FRAMEWORKS)/installed: pyproject.toml constraints.txt $(RUST)
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[frameworks]'
	@touch $@
