#!/usr/bin/env bash
# Measures workdir-mount beside others: the Python temporal-workdir, tar and pigz;
# and, as root, other mounts, the disk and memory.
# Usage: bench/compare.sh PATH-OF-workdir-mount [-o DIR] [-parts LIST]
# Environment: ROUNDS (3), SOURCE (the Go source tree), TMPDIR (where all work).
set -euo pipefail
binary=$(realpath "${1:?usage: bench/compare.sh PATH-OF-workdir-mount [-o DIR] [-parts LIST]}")
shift
here=$(realpath "$(dirname "$0")/..")
(cd "$here" && go build -o build/bench ./bench)
PATH="$here/build/tools/bin:$here/build/juicefs/bin:$PATH" exec "$here/build/bench" -workdir-mount "$binary" -python "$here/build/_venv/bin/python" \
	-module "$here" -rounds "${ROUNDS:-3}" -source "${SOURCE:-$(go env GOROOT)/src}" "$@"
