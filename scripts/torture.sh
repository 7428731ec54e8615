#!/usr/bin/env bash
# Proves at scale that killed workers neither lose nor double anything: 10,000
# appends and 2,500 kills on each store, some hours each on two cores; and that 20,000
# activities one after the other take no more memory the more they are. "make test"
# runs the same tests with small figures. Arguments choose among file, plain, s3 and
# sequence; without any it is all of them. A figure that is set in the environment is kept, and
# so is a seed, to meet a failure again.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(id -u)" != 0 ]; then
	echo "torture: must be run by root, who mounts without fusermount3" >&2
	exit 1
fi

export WORKDIR_TEMPORAL_APPENDS=${WORKDIR_TEMPORAL_APPENDS:-10000}
export WORKDIR_TEMPORAL_KILLS=${WORKDIR_TEMPORAL_KILLS:-2500}
export WORKDIR_TEMPORAL_SEQUENCE=${WORKDIR_TEMPORAL_SEQUENCE:-20000}

[ $# -gt 0 ] || set -- file plain s3 sequence
cases=$(IFS='|'; echo "$*")
scripts/temporal-dev.sh --build >/dev/null
cd integration
exec go test -count=1 -v -timeout 48h -run "^(TestExactlyOnce|TestOneAfterTheOther)\$/^($cases)\$" ./temporal
