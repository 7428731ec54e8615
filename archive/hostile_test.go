package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
)

func TestRefuses(t *testing.T) {
	long := strings.Repeat("a", 256)
	hello := fileHead("hello", 5)
	bad := func(edit func(b *block)) []byte { return tgz(rawHead(fileHead("f", 0), edit)) }
	good := tgz(hello, "hello")
	sparseHead := rawHead(&header{name: "s", kind: kindFile, size: 1024}, func(b *block) {
		b[fieldType.off] = 'S'
		b.setNumber(fieldGNURealSize, 512) // less than its data
		b.setNumber(field{386, 12}, 0)
		b.setNumber(field{398, 12}, 1024)
	})
	for _, c := range []struct {
		name    string
		archive []byte
		want    string // part of the message
	}{
		{"nothing", nil, "an empty file"},
		{"text", []byte("hello"), "something else"},
		{"plain tar", tarOf(hello, "hello"), "a plain tar"},
		{"zstd", []byte("\x28\xb5\x2f\xfd1234"), "zstd"},
		{"xz", []byte("\xfd7zXZ\x00123"), "xz"},
		{"bzip2", []byte("BZh91AY&SY"), "bzip2"},
		{"zip", []byte("PK\x03\x041234"), "a zip file"},
		{"markup", []byte("<?xml version='1.0'?><Error/>"), "text or markup"},
		{"gzip of nothing", gz(nil), "not a tar"},
		{"gzip of text", gz([]byte("hello, world")), "not a tar"},
		{"gzip of long text", gz([]byte(strings.Repeat("hello, world", 1000))), "not a tar"},
		{"cut gzip", good[:len(good)-1], "cut off"},
		{"cut gzip header", good[:7], "cut off"},
		{"no end of a file", gz(openTarOf(hello, "hello")[:600]), "its end is missing"},
		{"extended header at the end", tgz(openTarOf(&header{name: "x", kind: kindFile, mtime: hello.mtime, xattrs: []xattr{{"user.a", nil}}})[:1024]), "its end is missing"},
		{"zeros within", tgz(hello, "hello", make([]byte, blockSize), hello, "hello"), "block of zeros"},
		{"bad checksum", tgz(hello, "hello", func() []byte { b := openTarOf(fileHead("g", 0)); b[5] ^= 1; return b }()), "checksum"},
		{"two dots", tgz(fileHead("a/../../b", 0)), "climbs"},
		{"only two dots", tgz(fileHead("..", 0)), "climbs"},
		{"two dots in the middle", tgz(fileHead("a/../b", 0)), "climbs"},
		{"absolute and two dots", tgz(fileHead("/../etc/passwd", 0)), "climbs"},
		{"two dots for the root", tgz(dirHead("/..")), "climbs"},
		{"root with a slash is a link", tgz(linkHead(kindSymlink, "/", "x")), "root"},
		{"empty name", tgz(rawHead(fileHead("f", 0), func(b *block) { b[0] = 0 })), "empty name"},
		{"NUL in a name", tgz(appendExtended(nil, paxName, 'x', appendPax(nil, paxPath, "a\x00b")), fileHead("f", 0)), "NUL"},
		{"NUL in a target", tgz(appendExtended(nil, paxName, 'x', appendPax(nil, paxLinkPath, "a\x00b")), linkHead(kindSymlink, "s", "t")), "NUL"},
		{"empty symlink", tgz(linkHead(kindSymlink, "s", "")), "empty"},
		{"root is a file", tgz(fileHead(".", 0)), "root"},
		{"root is a link", tgz(linkHead(kindSymlink, "./", "x")), "root"},
		{"slash after a symlink", tgz(linkHead(kindSymlink, "s/", "x")), "directory's"},
		{"beneath a file", tgz(fileHead("f", 0), fileHead("f/g", 0)), "beneath"},
		{"beneath a symlink", tgz(linkHead(kindSymlink, "s", "."), fileHead("s/g", 0)), "beneath"},
		{"beneath a fifo", tgz(&header{name: "p", kind: kindFIFO}, fileHead("p/g/h", 0)), "beneath"},
		{"link to nothing", tgz(linkHead(kindLink, "l", "nothing")), "hard link"},
		{"link to later", tgz(linkHead(kindLink, "l", "hello"), hello, "hello"), "hard link"},
		{"link to a directory", tgz(dirHead("d"), linkHead(kindLink, "l", "d")), "hard link"},
		{"link to the root", tgz(linkHead(kindLink, "l", ".")), "hard link"},
		{"link through a symlink", tgz(dirHead("d"), fileHead("d/f", 0), linkHead(kindSymlink, "s", "d"), linkHead(kindLink, "l", "s/f")), "hard link"},
		{"link to itself, which is nothing", tgz(linkHead(kindLink, "hello", "hello")), "hard link"},
		{"link to itself later", tgz(linkHead(kindLink, "hello", "hello"), hello, "hello"), "hard link"},
		{"cut within the last file's block", gz(openTarOf(hello, "hello")[:blockSize+5]), "its end is missing"},
		{"one block of zeros and a header", tgz(hello, "hello", make([]byte, blockSize), fileHead("g", 0)), "block of zeros"},
		{"not one whole header", gz(openTarOf(hello)[:100]), "not a tar"},
		{"link to what it replaces", tgz(dirHead("d"), fileHead("d/f", 0), linkHead(kindLink, "d", "d/f")), "replaces"},
		{"link out", tgz(linkHead(kindLink, "l", "../../etc/shadow")), "hard link"},
		{"link to absolute", tgz(linkHead(kindLink, "l", "/etc/shadow")), "hard link"},
		{"link to absolute with two dots", tgz(hello, "hello", linkHead(kindLink, "l", "/../hello")), "hard link"},
		{"character device", tgz(&header{name: "c", kind: kindChar}), "device"},
		{"block device", tgz(&header{name: "c", kind: kindBlock}), "device"},
		{"unknown kind", bad(func(b *block) { b[fieldType.off] = 'Q' }), "unknown"},
		{"from another volume", bad(func(b *block) { b[fieldType.off] = 'M' }), "volume"},
		{"size is no number", bad(func(b *block) { copy(b.bytes(fieldSize), "99999999999") }), "not a number"},
		{"size is negative", bad(func(b *block) { b.setNumber(fieldSize, -512) }), "not a number"},
		{"size is huge", bad(func(b *block) { b.setNumber(fieldSize, 1<<62) }), "FileBytes"},
		{"size lies", tgz(fileHead("f", 100000), "short"), "its end is missing"},
		{"size lies a little", tgz(fileHead("f", 5), "hello", fileHead("g", 0), "hello"), "checksum"},
		{"mode is no number", bad(func(b *block) { copy(b.bytes(fieldMode), "rwxr-xr") }), "not a number"},
		{"owner too large", tgz(appendExtended(nil, paxName, 'x', appendPax(nil, paxUID, "4294967296")), fileHead("f", 0)), "32-bit"},
		{"pax without newline", tgz(appendExtended(nil, paxName, 'x', []byte("9 path=ab")), fileHead("f", 0)), "extended header"},
		{"pax with a long length", tgz(appendExtended(nil, paxName, 'x', []byte("99 path=a\n")), fileHead("f", 0)), "extended header"},
		{"pax without a key", tgz(appendExtended(nil, paxName, 'x', []byte("5 =a\n")), fileHead("f", 0)), "extended header"},
		{"pax with a bad time", tgz(appendExtended(nil, paxName, 'x', appendPax(nil, paxMtime, "1.2.3")), fileHead("f", 0)), "malformed"},
		{"sparse with data beyond its end", tgz(sparseHead, strings.Repeat("x", 1024)), "sparse"},
		{"sparse map out of order", tgz(paxSparseHead("100,5,0,5", "200"), fileHead("s", 10), "0123456789"), "sparse"},
		{"sparse map of halves", tgz(paxSparseHead("0,5,100", "200"), fileHead("s", 5), "01234"), "sparse"},
		{"sparse map longer than its data", tgz(paxSparseHead("0,10", "200"), fileHead("s", 5), "01234"), "sparse"},
		{"sparse of negative size", tgz(paxSparseHead("0,5", "-9223372036854775808"), fileHead("s", 5), "01234"), "sparse"},
		{"sparse of a new version", tgz(appendExtended(nil, paxName, 'x', appendPax(nil, "GNU.sparse.major", "2")), fileHead("s", 0)), "sparse"},
		{"name too long", tgz(fileHead(long, 0)), "NameLen"},
		{"path too long", tgz(fileHead(strings.Repeat("abcdefghi/", 410), 0)), "PathLen"},
		{"long symlink", tgz(linkHead(kindSymlink, "s", strings.Repeat("t", 4096))), "SymlinkLen"},
		{"huge extended header", tgz(rawHead(fileHead("x", 0), func(b *block) { b[fieldType.off] = 'x'; b.setNumber(fieldSize, 1<<40) })), "HeaderBytes"},
		{"pax with an endless time", tgz(appendExtended(nil, paxName, 'x', appendPax(nil, paxMtime, "1e300")), fileHead("f", 0)), "malformed"},
		{"pax with no time", tgz(appendExtended(nil, paxName, 'x', appendPax(nil, paxMtime, "inf")), fileHead("f", 0)), "malformed"},
		{"xattr without a name", tgz(xattrHead("user."), fileHead("f", 0)), "no name of"},
		{"xattr with a NUL", tgz(xattrHead("user.a\x00b"), fileHead("f", 0)), "no name of"},
		{"xattr with a long name", tgz(xattrHead("user."+long), fileHead("f", 0)), "no name of"},
		{"xattr with a long value", tgz(&header{name: "f", kind: kindFile, xattrs: []xattr{{"user.x", make([]byte, 64<<10+1)}}}), "XattrBytes"},
		{"endless extended headers", tgz(bytes.Repeat(appendExtended(nil, paxName, 'x', nil), 3000), fileHead("f", 0)), "HeaderBytes"},
		{"endless labels", tgz(bytes.Repeat(appendExtended(nil, paxName, 'V', nil), 3000), fileHead("f", 0)), "HeaderBytes"},
		{"reserved gzip flag", flip(good, 3, 0x20), "header"},
		{"bad CRC of the header", slices.Concat(headCRC(0xffff), good[10:]), "header"},
		{"bad CRC", flip(good, len(good)-6, 1), "CRC-32"},
		{"bad ISIZE", flip(good, len(good)-2, 1), "ISIZE"},
		{"broken second member", append(slices.Clone(good), 0x1f, 0x8b, 8, 0), "cut off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := load(t, c.archive, nil)
			if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
				t.Fatalf("Load says %v", err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("Load says %q, which does not say %q", err, c.want)
			}
		})
	}
}

func paxSparseHead(list, size string) []byte {
	p := appendPax(nil, "GNU.sparse.map", list)
	return appendExtended(nil, paxName, 'x', appendPax(p, "GNU.sparse.size", size))
}

// headCRC is a gzip header with a checksum of its own, which is changed by mask.
func headCRC(mask uint16) []byte {
	h := []byte{0x1f, 0x8b, 8, flagHeadCRC | flagName, 0, 0, 0, 0, 0, 255, 'n', 0}
	return binary.LittleEndian.AppendUint16(h, uint16(crc32.ChecksumIEEE(h))^mask)
}

func xattrHead(name string) []byte {
	return appendExtended(nil, paxName, 'x', appendPax(nil, paxXattr+name, "value"))
}

func flip(p []byte, at int, mask byte) []byte {
	p = slices.Clone(p)
	p[at] ^= mask
	return p
}

func TestErrorsNameTheEntry(t *testing.T) {
	_, _, err := load(t, tgz(fileHead("fine", 0), linkHead(kindLink, "dir/the-bad-one", "x")), nil)
	var f *FormatError
	if !errors.As(err, &f) || f.Entry != "dir/the-bad-one" {
		t.Errorf("Load says %v", err)
	}
	_, _, err = load(t, tgz(fileHead("b", 5)), &ReaderOptions{Limits: &Limits{FileBytes: 4}})
	var l *LimitError
	if !errors.As(err, &l) || *l != (LimitError{Limit: "FileBytes", Value: 5, Max: 4, Entry: "b"}) {
		t.Errorf("Load says %v", err)
	}
}

// What is unusual but fine, and what the tree then holds.
func TestAccepts(t *testing.T) {
	hello := fileHead("hello", 5)
	holeDigest := fmt.Sprintf("%x", sha256.Sum256(slices.Concat(make([]byte, 4096), []byte("hello"), make([]byte, 4091))))[:16]
	const (
		root     = `"" 040755 0:0 1700000000.000000000`
		aHello   = `"hello" 100644 0:0 1700000000.000000000 size 5 "hello"`
		emptyEnd = "bytes after the end of the archive are left out"
	)
	const (
		oneZero  = "the archive ends with one block of zeros instead of two"
		noEnd    = "the archive ends without blocks of zeros: if the program that wrote it was stopped, entries are missing"
		behind   = "data after the end of the tar is left out"
		replaced = "a later entry takes the place of a directory, whose content is left out"
		absolute = "names are absolute: the slash in front is left out"
	)
	symlink, fifo := linkHead(kindSymlink, "s", "x"), &header{name: "p", kind: kindFIFO, mode: 0o600, mtime: hello.mtime}
	v7 := rawHead(fileHead("old/", 0), func(b *block) { clear(b[257:]); b[fieldType.off] = 0 })
	two := tarOf(hello, "hello")
	for _, c := range []struct {
		name    string
		archive []byte
		want    []string
		warn    string
	}{
		{"dot slash", tgz(dirHead("."), fileHead("./hello", 5), "hello"), []string{`"" 040750 0:0 1600000000.000000000`, aHello}, ""},
		{"doubled slashes and dots", tgz(fileHead(".//./hello", 5), "hello"), []string{root, aHello}, ""},
		{"no directory entries", tgz(fileHead("a/b/c", 0)), []string{
			root, `"a" 040755 0:0 1700000000.000000000`, `"a/b" 040755 0:0 1700000000.000000000`,
			`"a/b/c" 100644 0:0 1700000000.000000000 size 0 ""`,
		}, ""},
		{"directory entry after its content", tgz(fileHead("a/b", 0), dirHead("a")), []string{
			root, `"a" 040750 0:0 1600000000.000000000`, `"a/b" 100644 0:0 1700000000.000000000 size 0 ""`,
		}, ""},
		{"later file wins", tgz(fileHead("hello", 3), "old", hello, "hello"), []string{root, aHello}, ""},
		{"file over symlink", tgz(linkHead(kindSymlink, "hello", "/etc/passwd"), hello, "hello"), []string{root, aHello}, ""},
		{"file over a full directory", tgz(fileHead("hello/a/b", 0), fileHead("hello/c", 0), hello, "hello"), []string{root, aHello}, replaced},
		{"symlink over a full directory", tgz(fileHead("s/a", 0), symlink), []string{root, `"s" 120777 0:0 1700000000.000000000 -> "x"`}, replaced},
		{"symlink over an empty directory", tgz(dirHead("s"), symlink), []string{root, `"s" 120777 0:0 1700000000.000000000 -> "x"`}, ""},
		{"link to itself", tgz(hello, "hello", linkHead(kindLink, "hello", "hello")), []string{root, aHello}, ""},
		{"link to itself with a dot", tgz(hello, "hello", linkHead(kindLink, "./hello", "hello")), []string{root, aHello}, ""},
		{"link to itself without its dot", tgz(fileHead("./hello", 5), "hello", linkHead(kindLink, "hello", "./hello")), []string{root, aHello}, ""},
		{"symlink that links to itself", tgz(symlink, linkHead(kindLink, "s", "s")), []string{root, `"s" 120777 0:0 1700000000.000000000 -> "x"`}, ""},
		{"directory that links to itself", tgz(dirHead("d"), linkHead(kindLink, "d", "d/")), []string{root, `"d" 040750 0:0 1600000000.000000000`}, ""},
		{"the same link twice", tgz(hello, "hello", linkHead(kindLink, "x", "hello"), linkHead(kindLink, "x", "hello"), linkHead(kindLink, "hello", "x")), []string{
			root, aHello, `"x" 100644 0:0 1700000000.000000000 size 5 "hello" same as "hello"`,
		}, ""},
		{"link to a symlink", tgz(symlink, linkHead(kindLink, "t", "s")), []string{
			root, `"s" 120777 0:0 1700000000.000000000 -> "x"`, `"t" 120777 0:0 1700000000.000000000 -> "x" also "s"`,
		}, ""},
		{"link to a FIFO", tgz(fifo, linkHead(kindLink, "q", "p")), []string{
			root, `"p" 010600 0:0 1700000000.000000000`, `"q" 010600 0:0 1700000000.000000000 also "p"`,
		}, ""},
		{"root with a slash", tgz(dirHead("/"), hello, "hello"), []string{`"" 040750 0:0 1600000000.000000000`, aHello}, ""},
		{"absolute", tgz(fileHead("/hello", 5), "hello"), []string{root, aHello}, absolute},
		{"absolute with more slashes", tgz(fileHead("//./hello", 5), "hello"), []string{root, aHello}, absolute},
		{"link to an absolute name", tgz(hello, "hello", linkHead(kindLink, "x", "/hello")), []string{
			root, aHello, `"x" 100644 0:0 1700000000.000000000 size 5 "hello" same as "hello"`,
		}, absolute},
		{"absolute target of a symlink", tgz(linkHead(kindSymlink, "s", "/x")), []string{root, `"s" 120777 0:0 1700000000.000000000 -> "/x"`}, ""},
		{"no end", gz(openTarOf(hello, "hello")), []string{root, aHello}, noEnd},
		{"half an end", gz(openTarOf(hello, "hello", make([]byte, 100))), []string{root, aHello}, noEnd},
		{"half a header at the end", gz(append(openTarOf(hello, "hello"), openTarOf(hello)[:100]...)), []string{root, aHello}, noEnd},
		{"one block of zeros and something", gz(append(openTarOf(hello, "hello", make([]byte, blockSize)), "leftover"...)), []string{root, aHello}, oneZero + "; " + behind},
		{"one block of zeros and a block", gz(openTarOf(hello, "hello", make([]byte, blockSize), strings.Repeat("x", blockSize))), []string{root, aHello}, oneZero + "; " + behind},
		{"one block of zeros and more", gz(openTarOf(hello, "hello", make([]byte, blockSize), strings.Repeat("x", 1500))), []string{root, aHello}, oneZero + "; " + behind},
		{"directory over file", tgz(hello, "hello", dirHead("hello"), fileHead("hello/x", 0)), []string{
			root, `"hello" 040750 0:0 1600000000.000000000`, `"hello/x" 100644 0:0 1700000000.000000000 size 0 ""`,
		}, ""},
		{"a directory that came back", tgz(fileHead("d/a/f", 0), fileHead("d", 0), dirHead("d"), dirHead("d/a"), fileHead("d/a/g", 0)), []string{
			root, `"d" 040750 0:0 1600000000.000000000`, `"d/a" 040750 0:0 1600000000.000000000`,
			`"d/a/g" 100644 0:0 1700000000.000000000 size 0 ""`,
		}, replaced},
		{"directory that says it is sparse", tgz(paxSparseHead("0,5", "8192"), dirHead("d")), []string{
			`"" 040755 0:0 1600000000.000000000`, `"d" 040750 0:0 1600000000.000000000`,
		}, ""},
		{"link over file", tgz(hello, "hello", fileHead("x", 0), linkHead(kindLink, "x", "./hello")), []string{
			root, aHello, `"x" 100644 0:0 1700000000.000000000 size 5 "hello" same as "hello"`,
		}, ""},
		{"a file behind its old link", tgz(hello, "hello", linkHead(kindLink, "x", "hello"), fileHead("hello", 1), "n"), []string{
			root, `"hello" 100644 0:0 1700000000.000000000 size 1 "n"`, `"x" 100644 0:0 1700000000.000000000 size 5 "hello"`,
		}, ""},
		{"V7 directory", tgz(v7), []string{root, `"old" 040644 0:0 1700000000.000000000`}, ""},
		{"two members in a file", append(gz(two[:700]), gz(two[700:])...), []string{root, aHello}, ""},
		{"empty members between", slices.Concat(gz(two[:512]), gz(nil), emptyMember(subfield{'X', 'X'}, []byte("?")), gz(two[512:])), []string{root, aHello}, ""},
		{"zeros after gzip", append(tgz(hello, "hello"), make([]byte, 9999)...), []string{root, aHello}, ""},
		{"zeros after tar", gz(append(two, make([]byte, 9999)...)), []string{root, aHello}, ""},
		{"one block of zeros", gz(openTarOf(hello, "hello", make([]byte, blockSize))), []string{root, aHello}, oneZero},
		{"garbage after gzip", append(tgz(hello, "hello"), "garbage"...), []string{root, aHello}, emptyEnd},
		{"another archive behind", append(tgz(hello, "hello"), tgz(fileHead("not", 0))...), []string{root, aHello}, behind},
		{"checksum of the gzip header", slices.Concat(headCRC(0), tgz(hello, "hello")[10:]), []string{root, aHello}, ""},
		{"attributes of a later directory entry", tgz(
			&header{name: "d", kind: kindDir, mode: 0o700, xattrs: []xattr{{"user.a", []byte("1")}, {"user.b", []byte("1")}}},
			&header{name: "d", kind: kindDir, mode: 0o711, mtime: hello.mtime, xattrs: []xattr{{"user.b", []byte("2")}}}), []string{
			root, `"d" 040711 0:0 1700000000.000000000 user.b=1:"2"`,
		}, ""},
		{"time zero", tgz(&header{name: "f", kind: kindFile, mode: 0o644}), []string{
			`"" 040755 0:0 0.000000000`, `"f" 100644 0:0 0.000000000 size 0 ""`,
		}, ""},
		{"nothing but the end", tgz(), nil, ""},
		{"label of a volume", tgz(rawHead(fileHead("label", 0), func(b *block) { b[fieldType.off] = 'V' }), hello, "hello"), []string{root, aHello}, ""},
		{"size of a directory", tgz(rawHead(dirHead("d"), func(b *block) { b.setNumber(fieldSize, 4096) })), []string{
			`"" 040755 0:0 1600000000.000000000`, `"d" 040750 0:0 1600000000.000000000`,
		}, ""},
		{"global header", tgz(appendExtended(nil, paxName, 'g', appendPax(appendPax(nil, "comment", "0123"), paxMtime, "7.5")), fileHead("f", 0)), []string{
			`"" 040755 0:0 7.500000000`, `"f" 100644 0:0 7.500000000 size 0 ""`,
		}, ""},
		{"owner of minus two", tgz(rawHead(fileHead("f", 0), func(b *block) { b.setNumber(fieldUID, -2) })), []string{
			root, `"f" 100644 4294967294:0 1700000000.000000000 size 0 ""`,
		}, ""},
		{"acl", tgz(appendExtended(nil, paxName, 'x', appendPax(nil, "SCHILY.acl.access", "user::rw-")), fileHead("f", 0)), []string{
			root, `"f" 100644 0:0 1700000000.000000000 size 0 ""`,
		}, "access control lists and security labels are left out"},
		{"xattr of another class", tgz(&header{name: "f", kind: kindFile, mode: 0o644, mtime: hello.mtime, xattrs: []xattr{{"security.capability", []byte("x")}}}), []string{
			root, `"f" 100644 0:0 1700000000.000000000 size 0 ""`,
		}, `extended attributes "security".* are left out`},
		{"xattr of a symlink", tgz(xattrHead("user.x"), linkHead(kindSymlink, "s", "x")), []string{
			root, `"s" 120777 0:0 1700000000.000000000 -> "x"`,
		}, "extended attributes user.* are dropped, except those of files and directories"},
		{"xattr by libarchive", tgz(appendExtended(nil, paxName, 'x', appendPax(appendPax(nil, "LIBARCHIVE.xattr.user.a%3Db", "aGk="), "SCHILY.xattr.user.raw", "x")), fileHead("f", 0)), []string{
			root, `"f" 100644 0:0 1700000000.000000000 size 0 "" user.a=b=2:"hi"`,
		}, ""},
		{"sparse 0.1", tgz(paxSparseHead("4096,5,8192,0", "8192"), fileHead("s", 5), "hello"), []string{
			root, `"s" 100644 0:0 1700000000.000000000 size 8192 ` + holeDigest,
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			warn := ""
			tree, log, err := load(t, c.archive, &ReaderOptions{Warn: func(w Warning) { warn = strings.TrimPrefix(warn+"; "+w.Text, "; ") }})
			if err != nil || log != nil {
				t.Fatal(log, err)
			}
			if c.want != nil {
				wantSame(t, c.want, dump(t, tree))
			} else if !tree.Empty() {
				t.Error("the tree is not empty")
			}
			if warn != c.warn {
				t.Errorf("warned of %q, want %q", warn, c.warn)
			}
		})
	}
}

func TestSparseFileOfAnySize(t *testing.T) {
	tree, _ := mustLoad(t, tgz(paxSparseHead("549755813888,5,1099511627776,0", "1099511627776"), fileHead("s", 5), "hello"), nil)
	a := tree.Attr(maker{t, tree}.at("s"))
	if a.Size != 1<<40 || a.Blocks > 64 {
		t.Errorf("size %d, %d blocks", a.Size, a.Blocks)
	}
	p := make([]byte, 7)
	if _, errno := tree.ReadAt(maker{t, tree}.at("s"), p, 1<<39-1); errno != 0 || !bytes.Equal(p, []byte("\x00hello\x00")) {
		t.Errorf("read %q, %v", p, errno)
	}
}

func TestEveryTruncationIsFoundOrHarmless(t *testing.T) {
	tree := newTree(t)
	m := maker{t, tree}
	m.file("a", randomText(3000))
	m.symlink("b", "a")
	m.age()
	archive := pack(t, tree, testLog(5), nil)
	want := dump(t, tree)
	plain := len(archive) - len(tailOf(t, archive))
	for n := range archive {
		got, _, err := load(t, archive[:n], nil)
		switch {
		case n == plain:
			if err != nil || len(diff(want, dump(t, got))) > 300 {
				t.Errorf("the tar without its log: %v", err)
			}
		case !errors.Is(err, ErrFormat):
			t.Fatalf("cut to %d of %d bytes Load says %v", n, len(archive), err)
		}
	}
}

// tailOf returns what stands behind the tar in an archive of ours.
func tailOf(t *testing.T, archive []byte) []byte {
	t.Helper()
	f, err := footerAt(archive)
	if err != nil || f == nil {
		t.Fatal(f, err)
	}
	return archive[f.first.packed:]
}
