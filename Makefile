# `make up` gives a cluster, `make test` is everything the CI runs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
TARGET := $(or $(CARGO_TARGET_DIR),target)
CORTEN := $(TARGET)/release/corten

.PHONY: build up down test packages packages-build fmt clippy tidy deny unit e2e documents bench profile

build: packages-build
	flags=$$(hack/profile.sh flags $(TARGET)); RUSTFLAGS="$${RUSTFLAGS:-} $$flags" cargo build --release --locked --package corten

# After changes to what a busy cluster does, and with a release.
profile: packages
	hack/profile.sh make

up: build
	$(CORTEN) up --detach

down:
	$(CORTEN) down

test: packages fmt clippy tidy deny unit build e2e

packages:
	hack/packages.sh test

packages-build:
	hack/packages.sh build

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

tidy:
	cargo xtask tidy

deny:
	hack/deny.sh

unit:
	@# nextest where there is one: it shows each test's time. Plain cargo runs the same tests.
	if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --workspace --locked --no-fail-fast; else cargo test --workspace --locked --no-fail-fast; fi

e2e: build documents
	CORTEN=$(abspath $(CORTEN)) CORTEN_DOCUMENTS=$(abspath $(TARGET))/documents e2e/run.sh

documents:
	hack/documents.sh $(TARGET)/documents

bench: build
	$(CORTEN) bench
