#!/usr/bin/env bash
# GNU tar can store a sparse file in a pax archive: the entry is called GNUSparseFile.PID/NAME,
# begins with a map of what is no hole, and its pax header has the real name and size
# (GNU.sparse.name, GNU.sparse.realsize). A reader that knows nothing of that should fail, or
# say so. npm's tar 7.5.2 extracts GNUSparseFile.PID/NAME with the map and the data, there is
# no NAME, and no warning is emitted, even in strict mode.
# Seen with npm's tar 7.5.2 and GNU tar 1.34 (Debian 12).
# It matters to anyone whose archives are read by programs in Node: "tar -S --format=posix"
# makes files there that are under another name and have other content.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq -o APT::Sandbox::User=root download tar=1.34+dfsg-1.2+deb12u1
dpkg-deb -x tar_*.deb root
npm install --silent --no-fund --no-audit --prefix "$tmp" node@22.23.1 tar@7.5.2 >/dev/null
export PATH=$tmp/node_modules/.bin:$PATH

truncate -s 10M file
echo end >>file
"$tmp/root/bin/tar" --version | head -n 1
"$tmp/root/bin/tar" --format=posix --sparse -cf sparse.tar file
mkdir out
cat >extract.mjs <<'END'
import * as tar from "tar"
await tar.extract({ file: "sparse.tar", cwd: "out", strict: true, onwarn: (code, message) => console.log("warning:", code, message) })
END
said=$(node extract.mjs)
seen=$(cd out && find . -type f -printf '%P %s\n' | sed -E 's/\.[0-9]+\//.PID\//')
echo "extracted: $seen; said: ${said:-nothing}"
[ -z "$said" ] && [[ $seen =~ ^GNUSparseFile\.PID/file\ [0-9]+$ ]] && [ ! -e out/file ] || {
	echo "different from what is stated" >&2
	exit 1
}
