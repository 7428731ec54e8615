#!/usr/bin/env bash
# Runs the conformance suites with their large figures: some hours on two cores.
# "make test" runs the same tests with small ones. Arguments go to "go test", such
# as -run TestFsx; a figure that is set in the environment is kept.
set -euo pipefail
cd "$(dirname "$0")/../integration"

if [ "$(id -u)" != 0 ]; then
	echo "conformance: must be run by root: the suites mount, and change the user" >&2
	exit 1
fi

export WORKDIR_INTEGRATION_FSX=${WORKDIR_INTEGRATION_FSX:-10000000}                # operations
export WORKDIR_INTEGRATION_STRESS=${WORKDIR_INTEGRATION_STRESS:-10000000}          # operations
export WORKDIR_INTEGRATION_STRESSNG=${WORKDIR_INTEGRATION_STRESSNG:-5}             # seconds for each stressor of the class
export WORKDIR_INTEGRATION_SQLITE_KILLS=${WORKDIR_INTEGRATION_SQLITE_KILLS:-2000} # of each journal mode

export WORKDIR_ORACLE_CHECKS=${WORKDIR_ORACLE_CHECKS:-5000}                        # random sequences, each way
export WORKDIR_FORGOTTEN_CHECKS=${WORKDIR_FORGOTTEN_CHECKS:-2000}                  # random sequences
export WORKDIR_INTEGRATION_SEED=${WORKDIR_INTEGRATION_SEED:-$((1 + RANDOM))}         # other sequences each time

[ $# -gt 0 ] || set -- -run '^(TestPosix|TestGoFileTests|TestPjdfstest|TestFsx|TestExerciser|TestStress|TestStressNg|TestSQLiteKilled|TestOracle|TestOracleOfForgottenInodes)$'
exec go test -count=1 -v -timeout 24h "$@" .
