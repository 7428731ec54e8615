package integration

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// op is one step of the oracle test, done to every side. A sequence of them can be
// printed, and pasted as a regression test.
type op struct {
	do        string // what to do: a key of operations
	path, to  string // relative; to: the target of a link, the other name
	slot, in  int    // the open file that it is done to, the one that it reads from
	off, from int64  // byte offsets
	n         int64  // bytes
	flags     uint32
	mode      uint32
	attr      string // extended attribute
}

// String returns a literal of the non-zero fields.
func (o op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{do: %q", o.do)
	for _, f := range []struct {
		name  string
		value any
		zero  bool
	}{
		{"path", o.path, o.path == ""}, {"to", o.to, o.to == ""}, {"slot", o.slot, o.slot == 0}, {"in", o.in, o.in == 0},
		{"off", o.off, o.off == 0}, {"from", o.from, o.from == 0}, {"n", o.n, o.n == 0}, {"attr", o.attr, o.attr == ""},
	} {
		if !f.zero {
			fmt.Fprintf(&b, ", %s: %#v", f.name, f.value)
		}
	}
	if o.flags != 0 {
		fmt.Fprintf(&b, ", flags: %#x", o.flags)
	}
	if o.mode != 0 {
		fmt.Fprintf(&b, ", mode: %#o", o.mode)
	}
	return b.String() + "}"
}

// slots is how many files are open at once.
const slots = 3

// remount commits the workspace and mounts it again; there is no such operation on
// the other sides.
const remount = "remount"

var (
	// Few names and sizes that are alike, so that operations meet.
	oracleName = rapid.SampledFrom([]string{"a", "a", "a", "a", "b", "b", "b", "c", "c", "\xff \n", strings.Repeat("n", 255), strings.Repeat("n", 256)})
	oracleSize = rapid.OneOf(
		rapid.SampledFrom([]int64{0, 1, 4095, 4096, 4097, 5000, 8192, 12288}),
		rapid.Int64Range(0, 20_000),
		rapid.Map(rapid.Int64Range(0, 40), func(page int64) int64 { return page * 4096 }),
	)
	oracleSlot = rapid.IntRange(0, slots-1)
	oracleMode = rapid.SampledFrom([]uint32{0o600, 0o644, 0o755, 0o444})
	oracleAttr = rapid.SampledFrom([]string{"user.a", "user.b", "trusted.c", "security.d", "other.e"})
)

func oraclePath(t *rapid.T, label string) string {
	depth := rapid.SampledFrom([]int{1, 1, 1, 2, 2, 2, 3}).Draw(t, label)
	return strings.Join(rapid.SliceOfN(oracleName, depth, depth).Draw(t, label), "/")
}

// operations draw the fields that each operation uses. Those that make and write
// stand in more than one guise, so that trees grow.
var operations = map[string]func(*rapid.T, *op){
	"open": func(t *rapid.T, o *op) {
		o.path, o.slot, o.mode = oraclePath(t, "path"), oracleSlot.Draw(t, "slot"), oracleMode.Draw(t, "mode")
		o.flags = rapid.SampledFrom([]uint32{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR}).Draw(t, "access")
		o.flags |= rapid.SampledFrom([]uint32{
			0, unix.O_CREAT, unix.O_CREAT, unix.O_CREAT | unix.O_EXCL, unix.O_CREAT | unix.O_TRUNC, unix.O_TRUNC, unix.O_APPEND,
			unix.O_CREAT | unix.O_APPEND, unix.O_NOFOLLOW, unix.O_DIRECTORY, unix.O_CREAT | unix.O_NOFOLLOW, unix.O_TMPFILE,
		}).Draw(t, "flags")
	},
	"create": func(t *rapid.T, o *op) {
		o.do = "open"
		o.path, o.slot, o.mode = oracleName.Draw(t, "path"), oracleSlot.Draw(t, "slot"), 0o644
		o.flags = unix.O_RDWR | unix.O_CREAT
	},
	"tmpfile": func(t *rapid.T, o *op) {
		o.do = "open"
		o.path, o.slot, o.mode, o.flags = ".", oracleSlot.Draw(t, "slot"), 0o640, unix.O_RDWR|unix.O_TMPFILE
	},
	"close": func(t *rapid.T, o *op) { o.slot = oracleSlot.Draw(t, "slot") },
	"write": func(t *rapid.T, o *op) { o.slot, o.n = oracleSlot.Draw(t, "slot"), oracleSize.Draw(t, "n") },
	"pwrite": func(t *rapid.T, o *op) {
		o.slot, o.off, o.n = oracleSlot.Draw(t, "slot"), oracleSize.Draw(t, "off"), oracleSize.Draw(t, "n")
	},
	"pread": func(t *rapid.T, o *op) {
		o.slot, o.off, o.n = oracleSlot.Draw(t, "slot"), oracleSize.Draw(t, "off"), oracleSize.Draw(t, "n")
	},
	"mmap": func(t *rapid.T, o *op) {
		o.slot, o.off, o.n = oracleSlot.Draw(t, "slot"), oracleSize.Draw(t, "off"), rapid.Int64Range(1, 9000).Draw(t, "n")
	},
	"ftruncate": func(t *rapid.T, o *op) { o.slot, o.n = oracleSlot.Draw(t, "slot"), oracleSize.Draw(t, "n") },
	"fsync":     func(t *rapid.T, o *op) { o.slot = oracleSlot.Draw(t, "slot") },
	"fallocate": func(t *rapid.T, o *op) {
		o.slot, o.off, o.n = oracleSlot.Draw(t, "slot"), oracleSize.Draw(t, "off"), oracleSize.Draw(t, "n")
		o.flags = rapid.SampledFrom([]uint32{
			0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_COLLAPSE_RANGE,
		}).Draw(t, "mode")
	},
	"seek": func(t *rapid.T, o *op) {
		o.slot, o.off = oracleSlot.Draw(t, "slot"), oracleSize.Draw(t, "off")
		o.flags = rapid.SampledFrom([]uint32{unix.SEEK_DATA, unix.SEEK_HOLE}).Draw(t, "whence")
	},
	"copy": func(t *rapid.T, o *op) {
		o.in, o.slot = oracleSlot.Draw(t, "in"), oracleSlot.Draw(t, "slot")
		o.from, o.off, o.n = oracleSize.Draw(t, "from"), oracleSize.Draw(t, "off"), oracleSize.Draw(t, "n")
	},
	"flink":    func(t *rapid.T, o *op) { o.slot, o.path = oracleSlot.Draw(t, "slot"), oraclePath(t, "path") },
	"truncate": func(t *rapid.T, o *op) { o.path, o.n = oraclePath(t, "path"), oracleSize.Draw(t, "n")-1 },
	"mkdir":    func(t *rapid.T, o *op) { o.path, o.mode = oraclePath(t, "path"), oracleMode.Draw(t, "mode") },
	"mkdir a":  func(_ *rapid.T, o *op) { o.do, o.path, o.mode = "mkdir", "a", 0o755 },
	"mknod": func(t *rapid.T, o *op) {
		o.path = oraclePath(t, "path")
		o.mode = rapid.SampledFrom([]uint32{unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK}).Draw(t, "kind") | 0o620
	},
	"symlink": func(t *rapid.T, o *op) {
		o.path, o.to = oraclePath(t, "path"), rapid.SampledFrom([]string{"a", "b", "a/b", "./c", "nowhere"}).Draw(t, "target")
	},
	"link":   func(t *rapid.T, o *op) { o.path, o.to = oraclePath(t, "old"), oraclePath(t, "new") },
	"unlink": func(t *rapid.T, o *op) { o.path = oraclePath(t, "path") },
	"rmdir":  func(t *rapid.T, o *op) { o.path = oraclePath(t, "path") },
	"rename": func(t *rapid.T, o *op) {
		o.path, o.to = oraclePath(t, "old"), oraclePath(t, "new")
		o.flags = rapid.SampledFrom([]uint32{0, 0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE, 3, 8}).Draw(t, "flags")
	},
	"chmod": func(t *rapid.T, o *op) {
		o.path, o.mode = oraclePath(t, "path"), rapid.SampledFrom([]uint32{0o600, 0o6755, 0o2744, 0o1755, 0o2755, 0}).Draw(t, "mode")
	},
	"chown": func(t *rapid.T, o *op) {
		o.path, o.n, o.off = oraclePath(t, "path"), rapid.Int64Range(0, 3).Draw(t, "uid"), rapid.Int64Range(0, 3).Draw(t, "gid")
	},
	"utimens": func(t *rapid.T, o *op) {
		o.path, o.n, o.off = oraclePath(t, "path"), rapid.Int64Range(-3, 1000).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")
	},
	"setxattr": func(t *rapid.T, o *op) {
		o.path, o.attr, o.n = oraclePath(t, "path"), oracleAttr.Draw(t, "attr"), rapid.SampledFrom([]int64{0, 1, 10, 5000}).Draw(t, "n")
		o.flags = rapid.Uint32Range(0, 3).Draw(t, "flags")
	},
	"getxattr":    func(t *rapid.T, o *op) { o.path, o.attr = oraclePath(t, "path"), oracleAttr.Draw(t, "attr") },
	"removexattr": func(t *rapid.T, o *op) { o.path, o.attr = oraclePath(t, "path"), oracleAttr.Draw(t, "attr") },
	"readlink":    func(t *rapid.T, o *op) { o.path = oraclePath(t, "path") },
	"contents":    func(*rapid.T, *op) {}, // compares the content of all files
	remount:       func(*rapid.T, *op) {},
}

// oracleOps draws one operation.
var oracleOps = rapid.Custom(func(t *rapid.T) op {
	names := make([]string, 0, len(operations))
	for name := range operations {
		names = append(names, name)
	}
	o := op{do: rapid.SampledFrom(sorted(names)).Draw(t, "do")}
	operations[o.do](t, &o)
	return o
})

// scenes are what a sequence may begin with, so that it has something to work on.
var scenes = [][]op{
	nil,
	{
		{do: "mkdir", path: "a", mode: 0o755},
		{do: "chown", path: "a", n: 1, off: 2},
		{do: "chmod", path: "a", mode: 0o2755},
		{do: "open", path: "a/b", mode: 0o644, flags: unix.O_RDWR | unix.O_CREAT},
		{do: "open", path: "b", slot: 1, mode: 0o600, flags: unix.O_RDWR | unix.O_CREAT},
		{do: "open", path: "a/c", slot: 2, mode: 0o755, flags: unix.O_RDWR | unix.O_CREAT | unix.O_APPEND},
		{do: "write", n: 5000},
		{do: "pwrite", slot: 1, off: 20_000, n: 12_288},
		{do: "write", slot: 2, n: 4096},
	},
	{
		{do: "mkdir", path: "a", mode: 0o755},
		{do: "mkdir", path: "b", mode: 0o700},
		{do: "mkdir", path: "a/a", mode: 0o755},
		{do: "open", path: "a/a/b", mode: 0o644, flags: unix.O_RDWR | unix.O_CREAT},
		{do: "link", path: "a/a/b", to: "b/b"},
		{do: "symlink", path: "c", to: "a/b"},
		{do: "open", path: ".", slot: 1, mode: 0o600, flags: unix.O_RDWR | unix.O_TMPFILE},
		{do: "write", slot: 1, n: 8192},
		{do: "setxattr", path: "a/a/b", attr: "user.a", n: 10},
	},
	{ // files that come from an archive
		{do: "mkdir", path: "a", mode: 0o755},
		{do: "open", path: "a/b", mode: 0o644, flags: unix.O_RDWR | unix.O_CREAT},
		{do: "write", n: 12_288},
		{do: "open", path: "b", mode: 0o644, flags: unix.O_RDWR | unix.O_CREAT},
		{do: "pwrite", off: 8192, n: 4097},
		{do: "link", path: "b", to: "c"},
		{do: remount},
		{do: "open", path: "a/b", flags: unix.O_RDWR},
		{do: "open", path: "b", slot: 1, flags: unix.O_RDWR},
		{do: "open", path: "c", slot: 2, flags: unix.O_RDONLY},
	},
}
