package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	workdirfs "github.com/workdir/workdir/fs"
)

// unpacker is another program that reads our archives.
type unpacker struct {
	name string
	// command unpacks the archive into the directory that it runs in.
	command func(e *env, archive string) *exec.Cmd
	// skip names what the program cannot unpack; nil: nothing.
	skip func(name string) bool
	// keeps changes an entry to what the program keeps of it, and blurs what it
	// gives back; nil: everything is kept.
	keeps func(e *entry)
	// talks reports whether the program may print something on standard error or output.
	talks bool
}

// shell is a script that has the archive's path as $1.
func shell(script string) func(e *env, archive string) *exec.Cmd {
	return func(e *env, archive string) *exec.Cmd { return e.program("sh", "-c", script, "sh", archive) }
}

// python is a program that has the archive's path as sys.argv[1].
func python(source string) func(e *env, archive string) *exec.Cmd {
	return func(e *env, archive string) *exec.Cmd {
		return e.program("python3", "-c", "import sys, tarfile\n"+source, archive)
	}
}

var unpackers = []unpacker{
	{name: "GNU tar", command: shell(`tar --xattrs -xpzf "$1"`), skip: implausible},
	{name: "GNU tar, pipe", command: shell(`cat "$1" | tar --xattrs -xpz`), skip: implausible},
	{name: "GNU tar through gzip", command: shell(`gzip -dc <"$1" | tar --xattrs -xp`), skip: implausible},
	{name: "GNU tar, old times", command: shell(`tar --xattrs --warning=no-timestamp -xpzf "$1"`)},
	{name: "bsdtar", command: shell(`bsdtar -xpzf "$1"`), skip: beyondBsdtarReader},
	{name: "bsdtar, pipe", command: shell(`cat "$1" | bsdtar -xpzf -`), skip: beyondBsdtarReader},
	{name: "bsdtar, C locale", command: shell(`LC_ALL=C bsdtar -xpzf "$1"`), skip: beyondBsdtarReader},
	{name: "busybox", command: shell(`busybox tar -xzf "$1"`), keeps: keepBusyboxReader},
	{name: "busybox, pipe", command: shell(`cat "$1" | busybox tar -xz`), keeps: keepBusyboxReader},
	{name: "Python, r:gz", command: python(`tarfile.open(sys.argv[1], "r:gz").extractall(filter="fully_trusted")`), skip: beyondFloat, keeps: keepMilliseconds},
	{
		name: "Python, r|gz",
		command: python(`
with open(sys.argv[1], "rb") as f:
    tarfile.open(fileobj=f, mode="r|gz").extractall(filter="fully_trusted")`),
		skip: beyondFloat, keeps: keepMilliseconds,
	},
	{name: "Python, filter=data", command: python(`tarfile.open(sys.argv[1], "r:gz").extractall(filter="data")`), skip: beyondDataFilter, keeps: keepDataFilter},
	{name: "7z", command: shell(sevenZ + ` x -so "$1" | ` + sevenZ + ` x -si -ttar -snld -y`), skip: beyond7zReader, keeps: keep7zReader, talks: true},
}

// Everything that other programs can unpack of our archives they unpack to the
// same tree, and have nothing to say about the log behind it.
func TestOtherProgramsReadOurs(t *testing.T) {
	needRoot(t)
	for _, u := range unpackers {
		t.Run(u.name, func(t *testing.T) {
			e := newEnv(t)
			src := memoryDir(t)
			buildSample(t, src, u.skip)
			packOurs(e, src, e.archive("ours"))
			unpacksTo(t, e, &u, src)
		})
	}
}

// Programs that only decompress or list find nothing wrong either.
func TestOtherProgramsTestOurs(t *testing.T) {
	needRoot(t)
	e := newEnv(t)
	src := memoryDir(t)
	buildSample(t, src, implausible)
	packOurs(e, src, e.archive("ours"))
	for _, script := range []string{
		`gzip -t "$1"`,
		`gzip -t <"$1"`,
		`busybox gzip -t "$1"`,
		`pigz -t "$1"`,
		`tar -tzf "$1" >/dev/null`,
		`tar -dzf "$1" -C ` + src,
		`bsdtar -tf "$1" >/dev/null`,
		`busybox tar -tzf "$1" >/dev/null`,
		`python3 -m gzip -d - <"$1" >/dev/null`,
		sevenZ + ` t "$1" >/dev/null`,
	} {
		t.Run(script, func(t *testing.T) {
			if stdout, stderr, code := run(t, shell(script)(e, e.archive("ours"))); code != 0 || stdout+stderr != "" {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
}

// packOurs packs src with a commit log, by way of a tree.
func packOurs(e *env, src, out string) {
	e.t.Helper()
	foreign := e.path("foreign.tar.gz")
	gnuTar("--format=pax", "--xattrs")(e, src, foreign)
	home, err := workdirfs.NewArenaHome(256 << 20)
	if err != nil {
		e.t.Fatal(err)
	}
	defer home.Close()
	tree, err := workdirfs.New(home, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	defer tree.Close()
	loadInto(e.t, tree, foreign)
	writeTo(e.t, tree, out)
}

func loadInto(t *testing.T, tree *workdirfs.Tree, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := archive.NewReader(f, nil).Load(context.Background(), tree); err != nil {
		t.Fatal(err)
	}
}

func writeTo(t *testing.T, tree *workdirfs.Tree, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := archive.NewWriter(f, nil).WriteTree(context.Background(), tree, fullLog()); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// fullLog returns a log with as many commits and as much of results as there can be.
func fullLog() *archive.Log {
	var log *archive.Log
	result := make([]byte, archive.MaxResults/(archive.MaxLog+1))
	for i := range archive.MaxLog + 1 {
		_, _ = rand.Read(result) // never fails
		log = log.Next(archive.Record{
			ID: archive.NewCommitID(), Time: time.Unix(1_700_000_000+int64(i), 0), Tool: "test",
			Origin: archive.Origin{Workspace: "file:///jobs/job", Execution: string(archive.NewCommitID()), Step: "1"},
			Result: bytes.Clone(result),
		})
	}
	return log
}

// kept returns a snapshot as a program keeps it.
func kept(all map[string]entry, keeps func(e *entry)) map[string]entry {
	all = maps.Clone(all)
	for name, e := range all {
		if keeps != nil {
			keeps(&e)
			all[name] = e
		}
	}
	return all
}

// GNU tar has a word to say about every time before the epoch or in the future.
func implausible(name string) bool { return under(name, oldTimes, farTimes, "times/after-31-bits") }

// bsdtar takes the sign of a time for its seconds alone, and the name of an
// extended attribute as GNU tar writes it, %3D for an equals sign.
func beyondBsdtarReader(name string) bool { return under(name, oldTimes, oddXattrs) }

// busybox takes names alone from extended headers, and sets the times of files only.
func keepBusyboxReader(e *entry) {
	keepSeconds(e)
	if e.kind == "directory" || e.kind == "symlink" {
		e.mtime.sec = 0
	}
}

// keepMilliseconds is what survives Python's floating-point times. It sets none
// of symbolic links.
func keepMilliseconds(e *entry) {
	e.xattrs = nil
	e.mtime.nsec = (e.mtime.nsec + 500_000) / 1_000_000
	if e.kind == "symlink" {
		e.mtime = timestamp{}
	}
}

// beyondDataFilter is what Python's filter for data refuses.
func beyondDataFilter(name string) bool {
	return beyondFloat(name) || under(name, absoluteLink, escapingLink, "fifo")
}

// keepDataFilter is how Python's filter for data changes modes: directories
// have the ones of the process, files are the owner's to read and write.
func keepDataFilter(e *entry) {
	keepMilliseconds(e)
	switch e.kind {
	case "file":
		e.mode = e.mode&0o755 | 0o600
		if e.mode&0o100 == 0 {
			e.mode &^= 0o111
		}
	case "directory":
		e.mode = 0o755
	}
}

// 7z refuses links that lead out, and is bewildered by extended attributes.
func beyond7zReader(name string) bool {
	return beyond7z(name) || under(name, escapingLink, absoluteLink, "xattrs/")
}

func keep7zReader(e *entry) {
	keepSeconds(e)
	e.mode = 0
	e.nlink, e.link = 0, ""
}
