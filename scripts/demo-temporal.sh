#!/usr/bin/env bash
# The second act: a Temporal workflow on two workers that are killed. A source tree
# is fetched from an archive, built, tested, and reported on, in one workspace, by
# workers that share nothing but the store. One is killed in the middle of the
# build; the other one while it uploads what it has built.
# Usage: scripts/demo-temporal.sh PATH-OF-workdir-mount
set -euo pipefail
wd=$(realpath "${1:?usage: scripts/demo-temporal.sh PATH-OF-workdir-mount}")
cd "$(dirname "$0")/.."
[ -n "${TEMPORAL_ADDRESS:-}" ] || exec scripts/with-temporal.sh "$0" "$wd"

tmp=$(mktemp -d "${TMPDIR:-/tmp}/workdir-demo.XXXXXX")
store=$tmp/store
archive=$store/nightly-1.tar.gz
declare -A pids # of the workers

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
say() { printf '  %s  %s\n' "$(date +%T)" "$*"; }
die() { echo "demo: $*" >&2; tail -n 20 "$tmp"/*.log >&2; exit 1; }

# machine NAME: all processes of a worker: itself, the server of its mounts, and the
# tools of its activities.
machine() { tree "${pids[$1]}"; }
tree() {
	local child
	echo "$1"
	for child in $(cat "/proc/$1/task"/*/children 2>/dev/null); do tree "$child"; done
}

# Each worker has a process group, a run directory and a disk of its own.
start_worker() {
	mkdir -p "$tmp/disk-$1"
	TMPDIR="$tmp/disk-$1" setsid "$tmp/nightly" -store "file://$store" -run-dir "$tmp/run-$1" -identity "worker $1" worker >>"$tmp/worker-$1.log" 2>&1 &
	pids[$1]=$!
	say "worker $1 starts, as ${pids[$1]}@$(uname -n)"
}

# lose NAME: kill -9 for everything on that machine at once, as when it is lost.
lose() {
	# shellcheck disable=SC2046 # one word for each process, some of which have ended
	kill -9 $(machine "$1") 2>/dev/null || true
	wait "${pids[$1]}" 2>/dev/null || true
}

# The workers end as a deployment ends them, and take their mounts with them.
finish() {
	local name
	for name in "${!pids[@]}"; do { kill "${pids[$name]}" && wait "${pids[$name]}"; } 2>/dev/null || true; done
	for name in A B; do "$wd" --run-dir "$tmp/run-$name" status >/dev/null 2>&1 || true; done # clears away what the killed ones left
	rm -rf --one-file-system "$tmp"
}
trap finish EXIT

# await WHAT CONDITION...: until it holds. The workflow may not end before it.
await() {
	local what=$1
	shift
	until "$@"; do
		kill -0 "$workflow" 2>/dev/null || die "the workflow ended before $what"
		read -r -t 0.01 _ <>"$tmp/never" || true # a pause that starts no process
	done
}

# building NAME: does this worker compile? Its build cache shows it, in the mount.
building() {
	local -a objects
	objects=("$tmp/run-$1"/mnt/*/gocache/*/*-d)
	[ ${#objects[@]} -ge 40 ]
}
someone_builds() {
	for busy in A B; do ! building $busy || return 0; done
	return 1
}

# uploading: is something of more than 1 MiB under way to the store?
uploading() {
	local part
	for part in "$store"/.workdir/.workdir-tmp-*; do
		[ -e "$part" ] && [ "$(stat -c %s "$part" 2>/dev/null || echo 0)" -gt 1048576 ] && return 0
	done
	return 1
}

step "Two workers, one store, and a nightly build: fetch, build, test, report, plot"
mkdir "$store"
mkfifo "$tmp/never"
go build -o "$tmp/nightly" ./examples/nightly
source=$(go mod download -json github.com/klauspost/compress | sed -n 's/^\t"Zip": "\(.*\)",$/\1/p')
echo "  input: $(basename "$(dirname "$(dirname "$source")")") $(basename "$source"), $(($(stat -c %s "$source") >> 20)) MiB"
start_worker A
start_worker B
"$tmp/nightly" -store "file://$store" run "$source" "$tmp/report.svg" >"$tmp/outcome" 2>"$tmp/workflow.log" &
workflow=$!

await "the build" someone_builds
first=$busy
before=$(stat -c %i "$archive")
lose "$first"
say "worker $first compiled: kill -9, with all that ran there"
second=$([ "$first" = A ] && echo B || echo A)

await "the upload" uploading
lose "$second"
say "worker $second uploaded what it had built: kill -9 there too"
[ "$before" = "$(stat -c %i "$archive")" ] || die "the archive was replaced by a worker that did not come through"
say "the archive is still the one of the first step; nobody is left"

start_worker "$first"
start_worker "$second"
wait "$workflow" || die "the workflow failed"
say "the workflow is done"

step "The outcome, and what Temporal saw"
cat "$tmp/outcome"

step "What the archive says: who committed what, attempt by attempt"
"$wd" log "file://$store/nightly-1"

step "What is there now"
"$wd" verify "file://$store/nightly-1"
[ -s "$tmp/report.svg" ] || die "there is no plot"
echo "  the plot: $(stat -c %s "$tmp/report.svg") bytes of SVG"
echo
echo "demo: all as it should be"
