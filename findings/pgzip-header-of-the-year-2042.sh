#!/usr/bin/env bash
# pgzip is a parallel gzip with the interface of Go's compress/gzip. The header of a new
# writer has the zero ModTime, for which compress/gzip writes 0, "no time stamp" in
# RFC 1952. pgzip writes the low 32 bits of the zero time's Unix seconds, and readers
# take these for a time in the year 2042: Go's gzip.Reader returns it, and "gzip -dN"
# sets it on the file that it writes.
# Seen with github.com/klauspost/pgzip v1.3.0 and gzip 1.12 (Debian 12).
# It matters to anyone who changes from compress/gzip to pgzip for its speed: the headers
# of the archives differ, and what "gzip -dN" unpacks lies in the future. With
# ModTime = time.Unix(0, 0) pgzip writes 0 as well.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

apt-get -qq -o APT::Sandbox::User=root download gzip=1.12-1
dpkg-deb -x gzip_*.deb root
gzip=$tmp/root/bin/gzip

cat >main.go <<'EOF_GO'
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/klauspost/pgzip"
)

func show(name string, b *bytes.Buffer, w io.WriteCloser) {
	io.WriteString(w, "content")
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(name+".gz", b.Bytes(), 0o600); err != nil {
		log.Fatal(err)
	}
	stamp := b.Bytes()[4:8]
	r, err := gzip.NewReader(bytes.NewReader(b.Bytes()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s: % x, zero %t, year %d\n", name, stamp, r.ModTime.IsZero(), r.ModTime.UTC().Year())
}

func main() {
	var b, p, set bytes.Buffer
	show("compress-gzip", &b, gzip.NewWriter(&b))
	show("pgzip", &p, pgzip.NewWriter(&p))
	w := pgzip.NewWriter(&set)
	w.ModTime = time.Unix(0, 0)
	show("pgzip-set", &set, w)
}
EOF_GO
printf 'module finding\n\ngo 1.26\n\nrequire github.com/klauspost/pgzip v1.3.0\n' >go.mod
go mod tidy
seen=$(go run . && "$gzip" -dN pgzip.gz && echo "gzip -dN: $(date -u -r pgzip +%Y)")
echo "$seen"
[ "$seen" = 'compress-gzip: 00 00 00 00, zero true, year 1
pgzip: 00 09 6e 88, zero false, year 2042
pgzip-set: 00 00 00 00, zero true, year 1
gzip -dN: 2042' ] || {
	echo "different from what is stated" >&2
	exit 1
}
