package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/workdir/workdir/archive"
)

// ancestorPython is the Python that has temporal-workdir.
const ancestorPython = "../build/_venv/bin/python"

// ancestorScript opens a workspace by temporal-workdir, runs a shell script in
// it, and has it stored.
const ancestorScript = `
import asyncio, subprocess, sys
from temporal_workdir import Workspace

async def main(url, *script):
    async with Workspace(url) as ws:
        subprocess.run(["sh", "-euc", *script], cwd=ws.path, check=True)

asyncio.run(main(*sys.argv[1:]))
`

// ancestor runs a shell script in a workspace of the Python temporal-workdir;
// args are $1, $2, ….
func (e *env) ancestor(url, script string, args ...string) string {
	e.t.Helper()
	if _, err := os.Stat(ancestorPython); err != nil {
		e.t.Fatalf("%v: run scripts/deps.sh test", err)
	}
	cmd := e.program(ancestorPython, append([]string{"-c", ancestorScript, url, script, "sh"}, args...)...)
	cmd.Env = append(cmd.Env, "TMPDIR="+memoryDir(e.t))
	return mustRun(e.t, cmd)
}

// ancestorCopies runs the ancestor in a workspace, with a script that comes first,
// and returns a snapshot of the directory that it then stores.
func (e *env) ancestorCopies(url, script string) map[string]entry {
	e.t.Helper()
	dir := memoryDir(e.t)
	e.ancestor(url, script+"\n"+`cp -a . "$1"`, dir)
	return snapshotOf(e.t, dir)
}

// beyondAncestor leaves out of a sample what the ancestor fails on: FIFOs, links
// that lead out of the workspace, and a target that no path can have; and times
// that change when they become floating-point numbers.
func beyondAncestor(name string) bool {
	return under(name, "fifo", absoluteLink, escapingLink, longTarget) || beyondFloat(name)
}

// ancestorUnpacks is what the ancestor makes of a tree, by tarfile's filter
// "data": no xattrs; modes without set-id, sticky and write bits of group and
// others; files that their owner may read and write; directories and symbolic
// links with modes and times of their own.
func ancestorUnpacks(tree map[string]entry) map[string]entry {
	out := map[string]entry{}
	for name, en := range tree {
		en.xattrs = nil
		if en.kind == "file" {
			en.mode = en.mode&0o755 | 0o600
			if en.mode&0o100 == 0 {
				en.mode &^= 0o111
			}
		}
		out[name] = en
	}
	return out
}

// ancestorPacks is what the ancestor stores of a tree: files, and symbolic links
// that lead to files. Directories come back only where they lead to these.
func ancestorPacks(tree map[string]entry) map[string]entry {
	out := map[string]entry{}
	for name, en := range tree {
		if en.kind == "directory" || en.kind == "symlink" && !leadsToFile(tree, name) {
			continue
		}
		en.xattrs = nil
		out[name] = en
		for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
			out[dir] = entry{kind: "directory"}
			if dir == "." {
				break
			}
		}
	}
	return out
}

// leadsToFile reports whether a symbolic link of a sample is one to a file: none
// there leads to another link.
func leadsToFile(tree map[string]entry, name string) bool {
	to, ok := tree[filepath.Join(filepath.Dir(name), tree[name].target)]
	return ok && to.kind == "file"
}

// bare takes the modes and times of directories out of a snapshot, and the times
// of symbolic links; what is left it rounds to microseconds, since Python knows
// times as floating-point numbers.
func bare(tree map[string]entry) map[string]entry {
	out := map[string]entry{}
	for name, en := range tree {
		switch en.kind {
		case "directory":
			en = entry{kind: en.kind}
		case "symlink":
			en.mtime = timestamp{}
		}
		en.mtime.nsec = (en.mtime.nsec + 500) / 1000 * 1000
		out[name] = en
	}
	return out
}

// The ancestor reads what we store, and we read what it stores on top of it, as
// far as it keeps it.
func TestAncestorBothWays(t *testing.T) {
	needRoot(t)
	e := newEnv(t)
	url := e.url("shared")
	var ours map[string]entry
	e.work(url, func(dir string) {
		buildSample(t, dir, beyondAncestor)
		ours = snapshotOf(t, dir)
	})

	theirs := e.ancestorCopies(url, `echo changed >regular; mkdir -p new/empty; echo new >new/file; touch -d @1650000000.5 regular new/file`)
	unpacked := ancestorUnpacks(ours)
	changed := []string{".", "regular", longHardLink, "new", "new/empty", "new/file"}
	for _, name := range changed {
		unpacked[name] = theirs[name]
	}
	mustEqual(t, "what the ancestor unpacked", bare(unpacked), bare(theirs))

	mustEqual(t, "what the ancestor stored", bare(ancestorPacks(theirs)), bare(e.look(url)))
}

// An archive that the ancestor wrote last opens and commits. It has no log, so
// the log starts anew, and the ancestor still reads what follows.
func TestAncestorCommitsBetweenOurs(t *testing.T) {
	e := newEnv(t)
	url := e.url("turns")
	for _, script := range []string{`echo 1 >log`, `echo 2 >>log`} {
		e.mustExec(url, script)
	}
	if log := e.log("turns"); log.Len() != 2 {
		t.Errorf("the log after two commits = %+v, want one that has one past commit", log)
	}
	e.ancestor(url, `echo 3 >>log`)
	if log := e.log("turns"); log != nil {
		t.Errorf("the log after a commit of the ancestor = %+v, want none", log)
	}
	e.mustExec(url, `echo 4 >>log`)
	if log := e.log("turns"); log.Len() != 1 || log.Record.Parent != "" {
		t.Errorf("the log after a commit on top of the ancestor's = %+v, want one without a past", log)
	}
	if got := e.ancestor(url, `cat log`); got != "1\n2\n3\n4\n" {
		t.Errorf("what all wrote = %q", got)
	}
}

// The ancestor deletes the archive of an emptied workspace, and so do we: for
// both it is then as if it had never been.
func TestAncestorEmptiedWorkspace(t *testing.T) {
	e := newEnv(t)
	url := e.url("emptied")
	e.mustExec(url, `echo x >file`)
	e.ancestor(url, `rm file`)
	if e.bytes("emptied") != nil {
		t.Error("the ancestor left an archive of an emptied workspace")
	}
	e.ancestor(url, `echo y >file`)
	e.mustExec(url, `rm file`)
	if e.bytes("emptied") != nil {
		t.Error("we left an archive of an emptied workspace")
	}
	if got := e.ancestor(url, `ls -A`); got != "" {
		t.Errorf("the ancestor found %q in an emptied workspace", got)
	}
}

// log reads the commit log of a stored archive; nil if it has none.
func (e *env) log(key string) *archive.Log {
	e.t.Helper()
	b := e.bytes(key)
	log, err := archive.ReadLog(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		e.t.Fatal(err)
	}
	return log
}
