package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/workdir/workdir/mount"
)

// forgottenVariable says how many random sequences TestOracleOfForgottenInodes tries.
const forgottenVariable = "WORKDIR_FORGOTTEN_CHECKS"

// TestOracleOfForgottenInodes does random things to an overlay and to tmpfs while the kernel
// repeatedly forgets all files that are not open. Most of them come from an archive. Every
// answer is the same, and every name, attribute and content, also once the workspace was
// committed and mounted again.
func TestOracleOfForgottenInodes(t *testing.T) {
	needRoot(t)
	setRapid(t, forgottenVariable, 60)
	w := newOracleWorld(t, string(mount.ViewOverlay))
	defer forgetting(t)()
	rapid.Check(t, func(t *rapid.T) {
		w.runForgotten(t, rapid.SliceOfN(oracleOps, 10, 120).Draw(t, "ops"))
	})
}

// forgetting has the kernel forget what it can every millisecond, as it does by itself
// when memory is short, until the function that it returns is called.
func forgetting(t *testing.T) (stop func()) {
	t.Helper()
	end, done := make(chan struct{}), make(chan error)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				done <- nil
				return
			case <-tick.C:
				if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	return func() { close(end); must(t, <-done) }
}

// forgottenBase is what the sequences begin with.
var forgottenBase = []op{
	{do: "mkdir", path: "a", mode: 0o755},
	{do: "mkdir", path: "a/a", mode: 0o755},
	{do: "mkdir", path: "a/b", mode: 0o755},
	{do: "mkdir", path: "b", mode: 0o2755},
	{do: "open", path: "a/a/a", mode: 0o644, flags: unix.O_RDWR | unix.O_CREAT},
	{do: "write", n: 12_288},
	{do: "open", path: "a/a/b", mode: 0o644, flags: unix.O_RDWR | unix.O_CREAT},
	{do: "write", n: 100},
	{do: "open", path: "b/a", mode: 0o600, flags: unix.O_RDWR | unix.O_CREAT},
	{do: "pwrite", off: 8192, n: 5000},
	{do: "open", path: "b/b", mode: 0o755, flags: unix.O_RDWR | unix.O_CREAT},
	{do: "setxattr", path: "b/b", attr: "user.a", n: 10},
	{do: "symlink", path: "b/c", to: "a/b"},
	{do: "mknod", path: "a/c", mode: unix.S_IFIFO | 0o620},
	{do: "open", path: "c", mode: 0o644, flags: unix.O_RDWR | unix.O_CREAT},
	{do: "write", n: 4097},
}

// runForgotten does one sequence to new trees.
func (w *oracleWorld) runForgotten(t *rapid.T, ops []op) {
	t.Helper()
	w.runs++
	key := strconv.Itoa(w.runs)
	tmpfs := filepath.Join(w.dir, "tmpfs"+key)
	must(t, os.Mkdir(tmpfs, 0o755))
	defer os.RemoveAll(tmpfs)
	f := &forgotten{w: w, key: key, theirs: newOracleSide(tmpfs)}
	f.open(t)
	defer func() { // whatever has failed
		f.theirs.closeFiles()
		f.ours.closeFiles()
		f.mount.Abandon()
		w.close(t, f.mount)
	}()
	for _, p := range slices.Concat(forgottenBase, []op{{do: remount}}, ops, []op{{do: remount}}) {
		f.did = append(f.did, p)
		f.one(t, p)
	}
}

// forgotten compares an overlay with tmpfs.
type forgotten struct {
	w      *oracleWorld
	key    string
	mount  *mount.Mount
	ours   *oracleSide
	theirs *oracleSide
	did    []op
}

func (f *forgotten) open(t *rapid.T) {
	f.mount = f.w.open(t, f.key)
	f.ours = newOracleSide(f.mount.Path())
	if st, err := f.mount.Status(context.Background()); err != nil || len(f.did) <= len(forgottenBase)+1 && st.View != mount.ViewOverlay {
		t.Fatalf("view %q: %s; %v", st.View, st.ViewReason, err)
	}
}

func (f *forgotten) one(t *rapid.T, p op) {
	switch p.do {
	case remount:
		f.remount(t)
		return
	case "seek", "utimens": // holes come back as others; times are TestOracle's
		return
	}
	theirs := sideOps[p.do](f.theirs, p)
	if ours := f.answer(p); ours != theirs {
		f.fail(t, "the mount says %s, tmpfs %s", ours, theirs)
	}
	f.compare(t, false)
}

// answer does an operation to the overlay. Lines copied-range and whiteout-device.
func (f *forgotten) answer(p op) string {
	answer := sideOps[p.do](f.ours, p)
	if p.do != "copy" || answer != outcome(unix.EXDEV) {
		return answer
	}
	data := make([]byte, p.n)
	n, err := unix.Pread(f.ours.files[p.in], data, p.from)
	if err != nil || n == 0 {
		return count(n, err)
	}
	return count(unix.Pwrite(f.ours.files[p.slot], data[:n], p.off))
}

// remount commits the workspace and mounts it again.
func (f *forgotten) remount(t *rapid.T) {
	f.ours.closeFiles()
	f.theirs.closeFiles()
	f.takeAway(t)
	// A directory's own time is not stored.
	for _, s := range []*oracleSide{f.ours, f.theirs} {
		s.do(op{do: "chmod", path: ".", mode: 0o700 + uint32(len(f.did)%2)})
	}
	must(t, f.mount.Commit())
	f.w.close(t, f.mount)
	f.open(t)
	f.compare(t, true)
}

// takeAway removes what an archive does not keep (docs/semantics.md), from both.
func (f *forgotten) takeAway(t *rapid.T) {
	var ops []op
	seen := map[uint64]bool{}
	f.theirs.walk(t, func(path string, st *unix.Stat_t) {
		kind := st.Mode & unix.S_IFMT
		if kind == unix.S_IFSOCK || seen[st.Ino] && (kind == unix.S_IFLNK || kind == unix.S_IFIFO) {
			ops = append(ops, op{do: "unlink", path: path})
			return
		}
		seen[st.Ino] = true
		for _, name := range xattrNames(t, f.theirs.path(path)) {
			if !strings.HasPrefix(name, "user.") {
				ops = append(ops, op{do: "removexattr", path: path, attr: name})
			}
		}
	})
	for _, p := range ops {
		f.did = append(f.did, p)
		f.one(t, p)
	}
}

// compare compares all that there is. Which names are one file is only compared where no
// overlay has forgotten one of them: line link-of-a-forgotten-file.
func (f *forgotten) compare(t *rapid.T, links bool) {
	theirs, _ := f.theirs.snapshot(t, 0)
	ours, _ := f.ours.snapshot(t, 0)
	theirs, ours = forgottenLines(theirs, links), forgottenLines(ours, links)
	theirs, ours = append(theirs, f.theirs.contents(t)...), append(ours, f.ours.contents(t)...)
	if !slices.Equal(theirs, ours) {
		f.fail(t, "the mount differs from tmpfs (-):\n%s", lineDifference(theirs, ours))
	}
}

var (
	sameFile  = regexp.MustCompile(`^("[^"]*"|"slot \d") \("[^"]*"\) `)
	ofAFolder = regexp.MustCompile(`( mode 4\d+ owner \d+:\d+) .*`)
)

// forgottenLines leaves out what an overlay does not know of directories: lines
// links-of-a-directory and size-of-a-directory.
func forgottenLines(lines []string, links bool) []string {
	for i, line := range lines {
		line = ofAFolder.ReplaceAllString(line, "$1")
		if !links {
			line = sameFile.ReplaceAllString(line, "$1 ")
		}
		lines[i] = line
	}
	return lines
}

func (f *forgotten) fail(t *rapid.T, format string, args ...any) {
	t.Helper()
	var b strings.Builder
	for _, p := range f.did {
		fmt.Fprintf(&b, "\t%v,\n", p)
	}
	t.Fatalf(format+"\nafter\n%s", append(args, b.String())...)
}
