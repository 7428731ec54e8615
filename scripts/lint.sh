#!/usr/bin/env bash
# Runs the linters of .golangci.yml over every module, and govulncheck over the library
# and its tests. GOVULNDB names another vulnerability database than Go's own. Where the
# database cannot be reached nothing can be found, so nothing fails; the output says that
# the check was not made.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tools=$root/build/tools/bin
export GOTOOLCHAIN=${GOTOOLCHAIN:-auto} # the Temporal server may ask for a later Go
export GOLANGCI_LINT_CACHE=${GOLANGCI_LINT_CACHE:-$root/build/lint}

for module in . integration integration/cmd/temporal-dev; do
	(cd "$module" && "$tools/golangci-lint" run --config "$root/.golangci.yml" ./...)
done

database=${GOVULNDB:-https://vuln.go.dev}
if ! "$tools/govulncheck" -version -db "$database" | grep -q '^DB updated:'; then
	echo "govulncheck: NOT RUN: the vulnerability database $database cannot be reached" >&2
	exit 0
fi
for module in . integration; do
	(cd "$module" && "$tools/govulncheck" -db "$database" ./...)
done
