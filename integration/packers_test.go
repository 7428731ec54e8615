package integration

import (
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// packer makes an archive with another program.
type packer struct {
	name string
	// pack writes an archive of everything in src to the file out, the directory
	// itself included unless rootless.
	pack func(e *env, src, out string)
	// skip names what the format cannot hold; nil: nothing.
	skip func(name string) bool
	// keeps changes an entry to what the format keeps of it; nil: all.
	keeps    func(e *entry)
	rootless bool
}

var packers = []packer{
	{name: "GNU tar, gnu", pack: gnuTar("--format=gnu"), keeps: keepSeconds},
	{name: "GNU tar, gnu, sparse", pack: gnuTar("--format=gnu", "--sparse"), keeps: keepSeconds},
	{name: "GNU tar, pax, xattrs", pack: gnuTar("--format=pax", "--xattrs")},
	{name: "GNU tar, pax, xattrs, sparse 1.0", pack: gnuTar("--format=pax", "--xattrs", "--sparse")},
	{name: "GNU tar, pax, sparse 0.1", pack: gnuTar("--format=pax", "--sparse", "--sparse-version=0.1"), keeps: keepNoXattrs},
	{name: "GNU tar, pax, sparse 0.0", pack: gnuTar("--format=pax", "--sparse", "--sparse-version=0.0"), keeps: keepNoXattrs},
	{name: "GNU tar, ustar", pack: gnuTar("--format=ustar"), skip: beyondUstar, keeps: keepSeconds},
	{name: "GNU tar, oldgnu", pack: gnuTar("--format=oldgnu"), keeps: keepSeconds},
	{name: "GNU tar, v7", pack: gnuTar("--format=v7"), skip: beyondV7, keeps: keepSeconds},
	{name: "bsdtar, pax", pack: bsdtar("pax"), keeps: keepBsdtarPax},
	{name: "bsdtar, gnutar", pack: bsdtar("gnutar"), skip: beyondOctal, keeps: keepSeconds},
	{name: "bsdtar, ustar", pack: bsdtar("ustar"), skip: beyondUstar, keeps: keepSeconds},
	{name: "busybox", pack: busyboxTar, skip: beyondOctal, keeps: keepSeconds},
	{name: "Python, pax", pack: pythonTar("PAX_FORMAT"), skip: beyondFloat, keeps: keepPythonPax},
	{name: "Python, gnu", pack: pythonTar("GNU_FORMAT"), skip: beyondFloat, keeps: keepSecondsTowardsZero},
	{name: "Python, ustar", pack: pythonTar("USTAR_FORMAT"), skip: beyondPythonUstar, keeps: keepSeconds},
	{name: "Go, pax", pack: goTar, skip: beyondGo},
	{name: "7z", pack: sevenZip, skip: beyond7z, keeps: keepSeconds, rootless: true},
}

func gnuTar(flags ...string) func(e *env, src, out string) {
	return func(e *env, src, out string) {
		args := append(flags, "-C", src, "-czf", out, ".")
		mustRun(e.t, e.program("tar", args...))
	}
}

func bsdtar(format string) func(e *env, src, out string) {
	return func(e *env, src, out string) {
		cmd := e.program("bsdtar", "--format="+format, "-C", src, "-czf", out, ".")
		cmd.Env = append(cmd.Env, "LC_ALL=C.UTF-8")
		if _, stderr, code := run(e.t, cmd); code > 1 || e.bytes("foreign") == nil { // 1: a warning about names that are not UTF-8
			e.t.Fatalf("bsdtar: exit code %d\n%s", code, stderr)
		}
	}
}

func busyboxTar(e *env, src, out string) {
	mustRun(e.t, e.program("busybox", "tar", "-C", src, "-czf", out, "."))
}

func pythonTar(format string) func(e *env, src, out string) {
	return func(e *env, src, out string) {
		mustRun(e.t, e.program("python3", "-c", `
import sys, tarfile
src, out, form = sys.argv[1:]
with tarfile.open(out, "w:gz", compresslevel=1, format=getattr(tarfile, form)) as tar:
    tar.add(src, arcname=".")
`, src, out, format))
	}
}

// sevenZ is the command of 7-Zip: distributions call it 7z or 7zz.
var sevenZ = func() string {
	if _, err := exec.LookPath("7z"); err == nil {
		return "7z"
	}
	return "7zz"
}()

func sevenZip(e *env, src, out string) {
	list := e.program(sevenZ, "a", "-ttar", "-snl", "-snh", "-bd", e.path("packed.tar"), ".")
	list.Dir = src
	mustRun(e.t, list)
	mustRun(e.t, e.program("sh", "-c", `gzip -1 <"$1" >"$2"`, "sh", e.path("packed.tar"), out))
}

func keepNoXattrs(e *entry) { e.xattrs = nil }

func keepSeconds(e *entry) {
	e.xattrs, e.mtime.nsec = nil, 0
}

// keepSecondsTowardsZero is how Python rounds times before the epoch.
func keepSecondsTowardsZero(e *entry) {
	if e.mtime.sec < 0 && e.mtime.nsec > 0 {
		e.mtime.sec++
	}
	keepSeconds(e)
}

// keepBsdtarPax: libarchive writes a time before the epoch with the sign in front
// of its parts, -2 s and 0.5 s as -2.5.
func keepBsdtarPax(e *entry) {
	if e.mtime.sec < 0 && e.mtime.nsec > 0 {
		e.mtime = timestamp{e.mtime.sec - 1, 1e9 - e.mtime.nsec}
	}
}

// keepPythonPax: Python knows times as floating-point numbers, and writes their
// shortest decimal form.
func keepPythonPax(e *entry) {
	e.xattrs = nil
	seconds := float64(e.mtime.sec) + 1e-9*float64(e.mtime.nsec)
	whole, fraction, _ := strings.Cut(strconv.FormatFloat(math.Abs(seconds), 'f', -1, 64), ".")
	ts := timestamp{number(whole), number((fraction + "000000000")[:9])}
	if seconds < 0 && ts.nsec > 0 {
		ts.sec, ts.nsec = ts.sec+1, 1e9-ts.nsec
	}
	if seconds < 0 {
		ts.sec = -ts.sec
	}
	e.mtime = ts
}

// number reads digits that cannot be anything else.
func number(digits string) int64 {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// under reports whether a name begins with one of some prefixes.
func under(name string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

// What the formats and programs cannot hold. None of them refuses it: they warn,
// or write something else.
func beyondUstar(name string) bool { return under(name, longNames, longTarget, oldTimes, farTimes) }
func beyondV7(name string) bool    { return beyondUstar(name) || name == "fifo" }
func beyondOctal(name string) bool { return under(name, oldTimes, farTimes) }
func beyondFloat(name string) bool {
	return under(name, lastNanosecond, oldNanosecond, farNanosecond)
}
func beyondPythonUstar(name string) bool { return beyondUstar(name) || beyondFloat(name) }
func beyondGo(name string) bool          { return under(name, oddXattrs) }
func beyond7z(name string) bool {
	return under(name, "fifo", binaryNames, longTarget, oldTimes, farTimes, "links/odd")
}
