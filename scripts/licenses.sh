#!/usr/bin/env bash
# Prints the licences of all modules that are linked into workdir-mount, with their texts.
# Fails for a module without a licence, or with one that is not in the list below.
# Usage: scripts/licenses.sh [-l]    -l: a line for each module, without the texts
set -euo pipefail
cd "$(dirname "$0")/.."
list=
[ "${1:-}" != -l ] || list=yes

# kind FILE: the licence of a file, by words that no other one has.
kind() {
	local text
	text=$(tr -s '[:space:]' ' ' <"$1")
	case $text in
	*"Apache License"*"Version 2.0"*) echo Apache-2.0 ;;
	*"Mozilla Public License"*"2.0"*) echo MPL-2.0 ;;
	*"Permission is hereby granted, free of charge"*) echo MIT ;;
	*"Permission to use, copy, modify, and"*"distribute this software for any purpose"*) echo ISC ;;
	*"Redistribution and use in source and binary forms"*"Neither the name"*) echo BSD-3-Clause ;;
	*"Redistribution and use in source and binary forms"*) echo BSD-2-Clause ;;
	*) echo unknown ;;
	esac
}

# Modules whose releases state no licence. go.temporal.io/api, which is MIT, imports this one
# of the same authors, and prune --temporal needs that.
unstated=" github.com/nexus-rpc/nexus-proto-annotations "

modules=$(mktemp)
trap 'rm -f "$modules"' EXIT
GOOS=linux go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/workdir-mount | sort -u >"$modules"
echo "go $(go env GOVERSION | sed 's/^go//') BSD-3-Clause"
bad=0
while read -r path version dir; do
	licence=$(find "$dir" -maxdepth 1 -iname 'licen[cs]e*' -o -maxdepth 1 -iname 'copying*' | sort | head -n 1)
	kind=missing
	[ -z "$licence" ] || kind=$(kind "$licence")
	[[ $kind != missing || $unstated != *" $path "* ]] || kind=not-stated
	echo "$path $version $kind"
	case $kind in
	missing | unknown)
		echo "licenses: $path: its licence is $kind" >&2
		bad=1
		;;
	esac
done <"$modules"
[ -z "$list" ] || exit "$bad"
while read -r path version dir; do
	find "$dir" -maxdepth 1 \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'notice*' \) -type f | sort | while read -r file; do
		printf '\n==== %s %s: %s\n\n' "$path" "$version" "$(basename "$file")"
		cat "$file"
	done
done <"$modules"
printf '\n==== go: LICENSE\n\n'
cat "$(go env GOROOT)/LICENSE"
exit "$bad"
