# Two commands do everything on a fresh Debian machine with Go, git and make:
#   make demo   shows the main job on real input
#   make test   runs every test
# Both install what they need with apt.

SHELL := /bin/bash
BUILD := build

.PHONY: all build demo test release test-unit test-integration bench conformance torture simulate lint deps-demo deps-examples deps-test deps-bench deps-release clean

all: build

build:
	go build -o $(BUILD)/workdir-mount ./cmd/workdir-mount

demo: deps-demo build
	scripts/demo.sh $(BUILD)/workdir-mount
	scripts/demo-temporal.sh $(BUILD)/workdir-mount

# Everything, with the race detector, and the linters; a skipped test is a failure.
test: deps-test
	scripts/test.sh

# The quick part, for while you work.
test-unit:
	go test ./...

# The conformance suites with their large figures; takes hours. As root.
conformance: deps-test
	scripts/conformance.sh

# 10,000 appends by workers that are killed 2,500 times; takes hours. As root.
torture: deps-test
	scripts/torture.sh

# A million schedules of attempts, faults and crashes; about half an hour.
SCHEDULES ?= 1000000
simulate:
	go test -count=1 -timeout 0 -v ./internal/sim -run 'TestSchedules$$' -schedules $(SCHEDULES)

bench: deps-bench build
	bench/compare.sh $(BUILD)/workdir-mount -o docs

# Everything of a release, in build/release/VERSION: programs, packages, image, checksums.
release: deps-release
	scripts/release.sh $(VERSION)

# The linters alone, and govulncheck where its database can be reached.
lint: deps-test
	scripts/lint.sh

deps-demo:
	@scripts/deps.sh demo

deps-examples:
	@scripts/deps.sh examples

deps-test:
	@scripts/deps.sh test

deps-bench:
	@scripts/deps.sh bench

deps-release:
	@scripts/deps.sh release

clean:
	rm -rf $(BUILD)
