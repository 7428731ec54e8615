#!/usr/bin/env bash
# Installs, with apt, pip and cargo, what the demo, the examples, the tests or the
# benchmarks need and is missing. Usage: scripts/deps.sh demo|examples|test|bench
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?usage: scripts/deps.sh demo|examples|test|bench}
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
if [ "$what" != demo ]; then
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
	need cmake cmake
	compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
	need stress-ng stress-ng
	# pjdfstest wants Rust 1.85. Debian 12 has that as cargo-web only: its cargo is
	# of Rust 1.63.
	rust=cargo
	! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || rust=cargo-web
	need "$rust" cargo
fi

if [ "$what" = bench ]; then
	need bindfs bindfs
	need fuse-overlayfs fuse-overlayfs
	need rclone rclone
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

# The Python temporal-workdir, whose archives we share both ways, and with it
# Temporal's SDK for Python.
if [ "$what" != demo ] && ! build/_venv/bin/python -c 'import temporal_workdir' >/dev/null 2>&1; then
	echo "installing the Python temporal-workdir into build/_venv" >&2
	python3 -m venv build/_venv
	build/_venv/bin/python -m pip install --quiet --disable-pip-version-check temporal-workdir
fi

# The clients by which the Python temporal-workdir reaches the three clouds.
if tests && ! build/_venv/bin/python -c 'import s3fs, gcsfs, adlfs' >/dev/null 2>&1; then
	echo "installing s3fs, gcsfs and adlfs into build/_venv" >&2
	build/_venv/bin/python -m pip install --quiet --disable-pip-version-check s3fs gcsfs adlfs
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

# The servers that stand for the three clouds.
if tests; then
	mkdir -p build/tools/bin
	go_tool versitygw github.com/versity/versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0
	go_tool fake-gcs-server github.com/fsouza/fake-gcs-server github.com/fsouza/fake-gcs-server v1.56.1

	azurite=3.37.0 # runs on the node beside it; distributions' own are too old or too new
	if ! grep -qsF "\"version\": \"$azurite\"" build/tools/azurite/node_modules/azurite/package.json ||
		[ ! -x build/tools/azurite/node_modules/.bin/node ]; then
		echo "installing azurite $azurite into build/tools" >&2
		npm install --silent --no-fund --no-audit --prefix build/tools/azurite "azurite@$azurite" node@22 >/dev/null
	fi
fi

# pjdfstest and fsx, the Rust crates, which no distribution packages.
if [ "$what" = test ]; then
	for crate in pjdfstest@0.2.2 fsx@0.3.2; do
		if ! grep -qsF "\"${crate/@/ } " build/tools/.crates.toml; then
			echo "installing the crate $crate into build/tools" >&2
			cargo install --quiet --locked --root build/tools "$crate"
		fi
	done
fi
