#!/usr/bin/env bash
# Runs each fuzzer of the module for a while: FUZZTIME, 20s by default. What one finds
# is left in its package's testdata, where the tests run it from then on.
set -euo pipefail
cd "$(dirname "$0")/.."

# Inputs that reach something new are not made smaller: by default a minute goes into
# each, in which nothing else is tried.
git grep -o -E '^func Fuzz[A-Za-z0-9]+' -- '*_test.go' ':!integration' | while IFS=: read -r file name; do
	name=${name#func }
	echo "== $name ($(dirname "$file"))"
	go test "./$(dirname "$file")" -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-20s}" -fuzzminimizetime 1x </dev/null
done
