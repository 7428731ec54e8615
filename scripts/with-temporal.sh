#!/usr/bin/env bash
# Runs a command with a Temporal server beside it, whose address the command finds
# in TEMPORAL_ADDRESS, and which ends with it. Where TEMPORAL_ADDRESS is set
# already, that server is used and none is started.
# Usage: scripts/with-temporal.sh COMMAND [ARG]...
set -euo pipefail
scripts=$(realpath "$(dirname "$0")")
: "${1:?usage: scripts/with-temporal.sh COMMAND [ARG]...}"
[ -z "${TEMPORAL_ADDRESS:-}" ] || exec "$@"

tmp=$(mktemp -d "${TMPDIR:-/tmp}/temporal.XXXXXX")
server=
stop() {
	[ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
	rm -rf "$tmp"
}
trap stop EXIT
trap 'exit 143' TERM INT HUP

command -v temporal >/dev/null || "$scripts/temporal-dev.sh" --build >/dev/null
export TEMPORAL_ADDRESS=127.0.0.1:$((20000 + RANDOM % 10000)) # below the ports of clients
: >"$tmp/log"
"$scripts/temporal-dev.sh" --port "${TEMPORAL_ADDRESS#*:}" >"$tmp/log" 2>&1 &
server=$!

# Ours says that it is ready; of the other one its client knows.
ready() {
	grep -q '^ready: ' "$tmp/log" || {
		command -v temporal >/dev/null && temporal operator cluster health --address "$TEMPORAL_ADDRESS" >/dev/null 2>&1
	}
}
until ready; do
	if ! kill -0 "$server" 2>/dev/null || [ $SECONDS -gt 600 ]; then
		echo "with-temporal: the Temporal server does not start:" >&2
		cat "$tmp/log" >&2
		exit 1
	fi
	sleep 0.1
done
"$@"
