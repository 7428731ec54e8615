#!/usr/bin/env bash
# The story of workdir on real input: a source tree, a git repository, a
# database and a build in a workspace, on one "worker"; the same workspace on
# another; a command that fails; two writers at once.
# Usage: scripts/demo.sh PATH-OF-workdir-mount
set -euo pipefail
wd=$(realpath "${1:?usage: scripts/demo.sh PATH-OF-workdir-mount}")
src=$(go env GOROOT)/src

tmp=$(mktemp -d "${TMPDIR:-/tmp}/workdir-demo.XXXXXX")
trap 'rm -rf --one-file-system "$tmp"' EXIT
url=file://$tmp/store/job-1
archive=$tmp/store/job-1.tar.gz
export GOFLAGS=-mod=mod GOTOOLCHAIN=local GOCACHE="$tmp/gocache" GIT_CONFIG_GLOBAL="$tmp/gitconfig"
git config --file "$GIT_CONFIG_GLOBAL" user.name demo
git config --file "$GIT_CONFIG_GLOBAL" user.email demo@localhost
git config --file "$GIT_CONFIG_GLOBAL" init.defaultBranch main
# "git commit" would leave a "git gc" behind in the background, which would keep
# the mount busy until it is done.
git config --file "$GIT_CONFIG_GLOBAL" gc.autoDetach false

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$1"; shift; "$@"; }
die() { echo "demo: $*" >&2; exit 1; }

# Each worker has a run directory of its own; they share nothing but the store.
on_worker() {
	local worker=$1
	shift
	"$wd" --run-dir "$tmp/run-$worker" "$@"
}

step "Worker A: the Go source tree, a git repository, a database and a build, in a workspace"
echo "  workspace: $url   (the directory exists only while the command runs)"
time on_worker a exec "$url" -- sh -euc '
	cp -a "$1" src
	git -C src init -q && git -C src add -A && git -C src commit -qm "the Go source tree"
	sqlite3 notes.db "create table t(n); with recursive c(n) as (select 1 union all select n+1 from c where n < 10000) insert into t select n from c"
	mkdir hello && cd hello
	printf "module hello\n" >go.mod
	printf "package main\n\nfunc main() { println(\"hello from a workspace\") }\n" >main.go
	go build -o hello . && ./hello
' demo "$src"
ls -l "$archive"

step "Worker B: the same directory, from the store alone"
time on_worker b exec "$url" -- sh -euc '
	test -z "$(git -C src status --porcelain)" && echo "git status: clean"
	git -C src fsck --no-progress && echo "git fsck: fine"
	echo "PRAGMA integrity_check: $(sqlite3 notes.db "PRAGMA integrity_check")"
	echo "rows: $(sqlite3 notes.db "select count(*) from t")"
	./hello/hello
'

step "It is an ordinary tar.gz for everybody else"
tar tzf "$archive" | sed -n 1,3p
gzip -t "$archive" && echo "gzip -t: fine"

step "A command that fails leaves the archive as it was"
before=$(sha256sum <"$archive")
code=0
on_worker a exec "$url" -- sh -c 'rm -rf src notes.db; exit 3' || code=$?
echo "exit code $code"
[ "$code" = 3 ] || die "expected exit code 3"
[ "$before" = "$(sha256sum <"$archive")" ] || die "the archive changed"
echo "the archive is the same, byte for byte"

step "Two writers at once: one commits, the other is told of the conflict"
mkfifo "$tmp/opened" "$tmp/go"
on_worker a exec "$url" -- sh -c 'echo opened >"$1"; cat "$2" >/dev/null; echo a >winner' slow "$tmp/opened" "$tmp/go" &
slow=$!
read -r _ <"$tmp/opened"
on_worker b exec "$url" -- sh -c 'echo b >winner'
echo go >"$tmp/go"
code=0
wait "$slow" || code=$?
echo "worker A: exit code $code"
[ "$code" = 104 ] || die "expected exit code 104, a conflict"
echo "winner: $(on_worker a exec --read-only "$url" -- cat winner)"
on_worker a ls -l "file://$tmp/store" 2>/dev/null || on_worker a ls "file://$tmp/store"
echo
echo "demo: all as it should be"
