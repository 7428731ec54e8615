#!/usr/bin/env bash
# Compares workdir-mount with the Python temporal-workdir and with tar and pigz.
# Usage: bench/compare.sh PATH-OF-workdir-mount [-o DIR] [-parts LIST]
# Environment: ROUNDS (3), SOURCE (the Go source tree), TMPDIR (where all work).
set -euo pipefail
binary=$(realpath "${1:?usage: bench/compare.sh PATH-OF-workdir-mount [-o DIR] [-parts LIST]}")
shift
here=$(realpath "$(dirname "$0")/..")
(cd "$here" && go build -o build/bench ./bench)
exec "$here/build/bench" -workdir-mount "$binary" -python "$here/build/_venv/bin/python" \
	-rounds "${ROUNDS:-3}" -source "${SOURCE:-$(go env GOROOT)/src}" "$@"
