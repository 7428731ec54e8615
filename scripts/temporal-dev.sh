#!/usr/bin/env bash
# A Temporal server of one process on 127.0.0.1, in memory or in one SQLite file,
# until SIGTERM or SIGINT.
# Usage: scripts/temporal-dev.sh [--port 7233] [--namespace default] [--db FILE]
#        scripts/temporal-dev.sh --build    only builds it, and prints its path
# Where there is a "temporal" command, that is what is started, unless --build asks
# for ours: the tests want the one version that they were written for.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
program=$root/build/temporal-dev

# build compiles the server, some 2,000 packages: minutes the first time, a second
# or two later. What it is at goes to stderr. The server may ask for a later Go than
# the one that is installed, and than workdir itself asks for: the go command fetches
# it, unless GOTOOLCHAIN in the environment forbids that.
build() {
	export GOTOOLCHAIN=${GOTOOLCHAIN:-auto}
	cd "$root/integration/cmd/temporal-dev"
	mkdir -p "$root/build"
	exec 9>"$program.lock"
	flock 9 # two that write the program at once would start a half of it
	local total
	total=$(go list -deps . | wc -l)
	go build -buildvcs=false -v -o "$program" . 2>&1 | awk -v total="$total" '
		!/^[a-z0-9.]+(\/[^ ]*)?$/ { print; next } # what is no package is an error
		NR == 1 { print "building the Temporal server: takes minutes the first time" }
		NR % 100 == 0 { printf "building the Temporal server: %d packages compiled, %d at most\n", NR, total }
		{ fflush() }' >&2
	exec 9>&-
}

if [ "${1:-}" = --build ]; then
	build
	echo "$program"
	exit
fi
if ! command -v temporal >/dev/null; then
	build
	exec "$program" "$@"
fi
options=(--headless --ip 127.0.0.1 --log-level error)
while [ $# -gt 0 ]; do
	case $1 in
	--port) options+=(--port "$2") ;;
	--namespace) options+=(--namespace "$2") ;;
	--db) options+=(--db-filename "$2") ;;
	*) echo "temporal-dev.sh: unknown option $1" >&2; exit 2 ;;
	esac
	shift 2
done
exec temporal server start-dev "${options[@]}"
