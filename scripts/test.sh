#!/usr/bin/env bash
# Runs the linters and every test: the packages with the race detector, then
# integration/, which has its own go.mod and starts real tools, a release that is built,
# installed and tried, and each fuzzer for a while. What a linter finds is a failure, and so
# is a skipped test.
set -euo pipefail
cd "$(dirname "$0")/.."

# Tests for ordinary users need a /dev/fuse that they may open.
if [ "$(id -u)" = 0 ] && [ "$(stat -c %a /dev/fuse 2>/dev/null)" != 666 ]; then
	echo "chmod 0666 /dev/fuse: the tests for ordinary users need it" >&2
	chmod 0666 /dev/fuse
fi

unformatted=$(git ls-files '*.go' | xargs -r gofmt -l)
if [ -n "$unformatted" ]; then
	printf 'not formatted (gofmt):\n%s\n' "$unformatted" >&2
	exit 1
fi
scripts/temporal-dev.sh --build >/dev/null
scripts/lint.sh # vet is among the linters
scripts/licenses.sh -l >/dev/null
mkdir -p build
go build -o build/testreport ./internal/testreport
go build -o build/workdir-mount ./cmd/workdir-mount

# Packages are tested in the order in which they are named: those that take longest come
# first, so that none of them is left to run alone.
{
	go test -race -json -timeout 20m ./mount ./cmd/workdir-mount ./store/... ./activity ./archive ./fs/... ./... || true
	go test -json -count=1 -timeout 20m ./internal/sim -run 'TestSchedules$' -schedules 50000 || true
	# Real tools and kills: the programs under test are built without the race
	# detector, as users run them.
	(cd integration && go test -json -count=1 -timeout 40m ./temporal . ./stores ./examples ./... || true)
} | build/testreport

scripts/test-package.sh
scripts/fuzz.sh
