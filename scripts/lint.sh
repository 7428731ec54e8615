#!/usr/bin/env bash
# Runs the linters of .golangci.yml, in the version that they are meant for, over
# both modules.
set -euo pipefail
cd "$(dirname "$0")/.."
lint() { go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run "$@"; }
lint ./...
cd integration
lint --config ../.golangci.yml ./...
