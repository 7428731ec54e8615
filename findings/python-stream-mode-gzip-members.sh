#!/usr/bin/env bash
# A gzip file may have several members. "gzip -d" joins them, and so does Python's
# tarfile in mode "r:gz"; the stream mode "r|gz" stops at the end of the first one. One
# would expect an exception at least, since the tar then lacks its end. If the member
# ends at the border of two entries, there is none: the list of entries is short and
# looks complete.
# Seen with Python 3.11.2 (Debian 12).
# It matters to anyone who writes a tar.gz in pieces that are compressed independently:
# the border of an entry is the natural place to cut, and a program that reads from a
# pipe must use "r|gz". It loses files without notice.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

version=3.11.2-6+deb12u9
apt-get -qq -o APT::Sandbox::User=root download \
	{python3.11-minimal,libpython3.11-minimal,libpython3.11-stdlib}="$version"
for deb in *.deb; do dpkg-deb -x "$deb" root; done
python() { PYTHONHOME=$tmp/root/usr PYTHONPATH='' "$tmp/root/usr/bin/python3.11" "$@"; }
python --version

cat >split.py <<'EOF_PY'
import gzip, io, tarfile

plain = io.BytesIO()
with tarfile.open(fileobj=plain, mode="w") as t:
    for name in ("first", "second"):
        entry = tarfile.TarInfo(name)
        entry.size = 4
        t.addfile(entry, io.BytesIO(b"data"))
plain = plain.getvalue()
border = 1024  # one header and one block of data
with open("split.tar.gz", "wb") as f:
    f.write(gzip.compress(plain[:border]) + gzip.compress(plain[border:]))
EOF_PY
cat >list.py <<'EOF_PY'
import sys, tarfile

with tarfile.open("split.tar.gz", sys.argv[1]) as t:
    print(*t.getnames())
EOF_PY

python split.py
gzip -t split.tar.gz
whole=$(python list.py 'r:gz')
stream=$(python list.py 'r|gz') # set -e: an exception would end the script here
printf 'r:gz   %s\nr|gz   %s\n' "$whole" "$stream"
[ "$whole" = "first second" ] && [ "$stream" = "first" ] || {
	echo "different from what is stated" >&2
	exit 1
}
