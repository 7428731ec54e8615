package archive

import (
	"strings"
	"testing"

	"github.com/workdir/workdir/fs"
)

func TestSplitUstar(t *testing.T) {
	n := func(k int) string { return strings.Repeat("n", k) }
	for _, c := range []struct {
		name, prefix, short string
		ok                  bool
	}{
		{"a/b", "", "a/b", true},
		{n(100), "", n(100), true},
		{n(101), "", "", false},
		{n(99) + "/", "", n(99) + "/", true},
		{n(100) + "/", "", "", false}, // a directory's slash belongs to its name
		{"a/" + n(100), "a", n(100), true},
		{"a/" + n(101), "", "", false},
		{n(155) + "/" + n(100), n(155), n(100), true},
		{n(156) + "/" + n(50), "", "", false},
		{n(156) + "/" + n(99), "", "", false},
		{n(50) + "/" + n(106) + "/" + n(98), "", "", false},
		{n(60) + "/" + n(60) + "/" + n(60), n(60) + "/" + n(60), n(60), true},
		{n(155) + "/" + n(101), "", "", false},
	} {
		prefix, short, ok := splitUstar(c.name)
		if prefix != c.prefix || short != c.short || ok != c.ok {
			t.Errorf("%q splits into %q, %q, %v", c.name, prefix, short, ok)
		}
	}
}

// Standard readers find what ustar cannot hold in pax records.
func TestPaxRecordsOfAHeader(t *testing.T) {
	long := strings.Repeat("l", 200)
	for _, c := range []struct {
		h    header
		want string
	}{
		{header{name: "f"}, ""},
		{header{name: "f", mtime: fs.Time{Sec: 1, Nsec: 5}}, "21 mtime=1.000000005\n"},
		{header{name: "f", mtime: fs.Time{Sec: -1}}, "12 mtime=-1\n"},
		{header{name: "f", owner: fs.Owner{UID: 3_000_000, GID: 4_000_000}}, "15 uid=3000000\n15 gid=4000000\n"},
		{header{name: "f", size: 8 << 30}, "19 size=8589934592\n"},
		{header{name: long}, "210 path=" + long + "\n"},
		{header{name: "ü" + long}, ""},
		{header{name: "s", link: long}, "214 linkpath=" + long + "\n"},
		{header{name: "f", xattrs: []xattr{{"user.a=%", []byte("v")}}}, "31 SCHILY.xattr.user.a%3D%25=v\n"},
		{header{name: "f", xattrs: []xattr{{"user.xattrs", []byte(strings.Repeat("v", 71))}}}, "101 SCHILY.xattr.user.xattrs=" + strings.Repeat("v", 71) + "\n"},
	} {
		out, _ := c.h.encode(nil)
		got := ""
		for len(out) > blockSize {
			b := (*block)(out)
			n, err := b.number(fieldSize)
			if err != nil {
				t.Fatal(err)
			}
			if b.text(fieldType) == "x" {
				got = string(out[blockSize:][:n])
			}
			out = out[blockSize+n+padding(n):]
		}
		if got != c.want {
			t.Errorf("%.20q has the records %q, want %q", c.h.name, got, c.want)
		}
	}
}
