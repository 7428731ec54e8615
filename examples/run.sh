#!/usr/bin/env bash
# Plays an example: a Temporal server, a worker, a workflow and its outcome, and
# nothing stays behind. What an example needs is installed with
# "scripts/deps.sh examples".
# Usage: examples/run.sh library|hello|pipeline|buildfarm|scratch|python|typescript|migrate [STORE-URL]
#        examples/run.sh nightly|guide
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:-}
case $name in
library | hello | pipeline | buildfarm | scratch | python | typescript | migrate) ;;
nightly | guide) [ $# = 1 ] || { echo "run.sh: $name has a store of its own" >&2; exit 2; } ;;
*)
	sed -n -e 's/^# Usage: /usage: /p' -e 's/^#        examples/       examples/p' "$0" >&2
	exit 2
	;;
esac

tmp=$(mktemp -d "${TMPDIR:-/tmp}/workdir-example.XXXXXX")
trap 'rm -rf --one-file-system "$tmp"' EXIT
export TMPDIR=$tmp
store=${2:-file://$tmp/store}
mkdir "$tmp/store" "$tmp/bin"
go build -o "$tmp/bin/workdir-mount" ./cmd/workdir-mount
export PATH=$tmp/bin:$PATH

# Two bring all that they need.
case $name in
nightly)
	scripts/demo-temporal.sh "$tmp/bin/workdir-mount"
	exit
	;;
guide)
	go test -count=1 ./examples/guide
	exit
	;;
esac

# A git repository of real source, made of an archive that "go build" has fetched.
repository() {
	local source
	source=$(go mod download -json github.com/klauspost/compress | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
	mkdir "$tmp/repository"
	cp -r "$source/." "$tmp/repository"
	chmod -R u+w "$tmp/repository"
	git -C "$tmp/repository" init -q
	git -C "$tmp/repository" add -A
	git -C "$tmp/repository" -c user.name=example -c user.email=example@localhost commit -qm "the source"
}

# The SDK for TypeScript needs a newer node than some distributions have; the tests
# have one of their own.
node -e 'process.exit(parseInt(process.versions.node) < 20)' 2>/dev/null ||
	PATH=$PWD/build/tools/azurite/node_modules/.bin:$PATH

case $name in
python) play=(build/_venv/bin/python examples/python/main.py --store "$store") ;;
typescript)
	dir=build/examples/typescript
	mkdir -p "$dir"
	cp -r examples/typescript/. "$dir"
	[ "$dir/node_modules/.package-lock.json" -nt examples/typescript/package-lock.json ] ||
		npm ci --silent --no-fund --no-audit --prefix "$dir" >/dev/null
	npm run --silent --prefix "$dir" build
	play=(node "$dir/lib/main.js" "$store")
	;;
*)
	go build -o "$tmp/bin/$name" "./examples/$name"
	play=("$tmp/bin/$name" -store "$store")
	;;
esac
case $name in
pipeline) play+=("$(go env GOROOT)/src" "$tmp/plot.svg") ;;
buildfarm)
	repository
	play+=("$tmp/repository")
	;;
esac

# The worker of the other language, beside ours.
both() {
	local beside code=0
	build/_venv/bin/python examples/migrate/ancestor.py --store "$store" &
	beside=$!
	"$@" || code=$?
	kill "$beside"
	wait "$beside" 2>/dev/null || true
	return "$code"
}
if [ "$name" = migrate ]; then
	export -f both
	export store
	play=(bash -euo pipefail -c 'both "$@"' migrate "${play[@]}")
fi

# One of them needs no Temporal server.
server=(scripts/with-temporal.sh)
[ "$name" != library ] || server=()

# What workers log is shown only if the example fails.
export log=$tmp/log
"${server[@]}" bash -c '"$@" 2>"$log"' play "${play[@]}" || {
	cat "$log" >&2
	exit 1
}

printf '\nWhat is in the store:\n'
workdir-mount ls -l -r "$store/"
[ ! -e "$tmp/plot.svg" ] || echo "  $(stat -c %s "$tmp/plot.svg") bytes  plot.svg, which the last activity took out"
workspace=$name-1
[ "$name" != buildfarm ] || workspace+=/s2/cmd/s2c
printf '\nThe commits of %s:\n' "$workspace"
workdir-mount log "$store/$workspace"
