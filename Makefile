# Every target installs what it needs on Debian and Ubuntu; elsewhere it says what is missing.
# KERNEL=6.12 makes `demo`, `test` and `vm` use that kernel; HOST=1 makes `demo` and `test` use this host's own.

PREFIX ?= /usr/local
SHELL_SCRIPTS = $(shell git grep -lE '^\#!.*(bash|busybox sh)' -- ':!*.md' ':!Makefile')

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: build ## show the tool at work, in a throwaway machine (HOST=1: here, as root)
	@scripts/packages vm
ifdef HOST
	@THINPOOL_IMAGES="$$(tests/vm/build)/images" PATH="$(CURDIR)/target/debug:$$PATH" demo/demo.sh
else
	@tests/vm/run target/debug/thinpool demo/demo.sh -- demo.sh
endif

test: build ## run all tests; those that need the kernel run in a throwaway machine
	@$(if $(HOST),,scripts/packages vm)
	$(if $(HOST),THINPOOL_TEST_HOST=1) cargo test --workspace

faults: build ## kill every command at every step, and cut the power at every flush: hours
	@scripts/packages vm
	PROPTEST_CASES=5000 cargo test --lib pool::tests::model
	THINPOOL_FAULTS=all THINPOOL_VM_TIMEOUT=21600 cargo test --test kernel_faults -- --no-capture

test-fio: build ## have fio fill a small pool that grows, in the machine of the benchmark
	@scripts/packages vm
	THINPOOL_VM_VARIANT=peers cargo test --test kernel a_fio_job -- --ignored --no-capture

fuzz: ## run each fuzz target for MINUTES (5); needs a nightly compiler and cargo-fuzz
	@cd fuzz && for target in $$(cargo +nightly fuzz list); do \
	    cargo +nightly fuzz run "$$target" -- -max_total_time=$$((60 * $(or $(MINUTES),5))) -max_len=65536 || exit; \
	done

bench: ## measure thinpool beside its peers in a throwaway machine, into docs/performance.md: long
	@scripts/packages build vm
	@scripts/bench

lint: ## check format, lints, documentation and shell scripts
	@scripts/packages build lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	shellcheck --external-sources --source-path=SCRIPTDIR $(SHELL_SCRIPTS) tests/vm/lib/*.sh tests/boot/*.sh

promtool: ## have Prometheus' own promtool, out of Debian's package, check metrics, rules and alerts
	@command -v promtool >/dev/null || [ -x target/prometheus/usr/bin/promtool ] || { mkdir -p target/prometheus && \
	    cd target/prometheus && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb .; }
	PATH="$$PATH:$(CURDIR)/target/prometheus/usr/bin" THINPOOL_PROMTOOL=1 cargo test --lib report::prometheus

install: release ## install the release build under PREFIX (/usr/local), below DESTDIR if set
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install target/release/thinpool target/release/examples/manpages

uninstall: ## remove what install installed; pools stay as they are
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/install --remove

deb: release ## make a Debian package in target/debian/
	@scripts/deb

test-deb: release ## install, upgrade, remove and purge the Debian package in a throwaway machine
	@scripts/packages vm
	@tests/deb/run

vm: build ## a root shell in a throwaway machine, with thinpool on its PATH
	@scripts/packages vm
	@tests/vm/shell target/debug/thinpool

build:
	@scripts/packages build
	cargo build --workspace

release:
	@scripts/packages build
	cargo build --release --locked --bin thinpool --example manpages
	@! grep -q THINPOOL_KILL_AT target/release/thinpool || { echo 'fail points are in the release build' >&2; exit 1; }

.PHONY: help demo test faults test-fio fuzz bench lint promtool install uninstall deb test-deb vm build release
