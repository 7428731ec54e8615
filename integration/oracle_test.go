package integration

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/mount"
)

// checksVariable says how many random sequences are tried in each view,
// see TestOracle.
const checksVariable = "WORKDIR_ORACLE_CHECKS"

// semanticsViews are the views of a mount, as docs/semantics.md names them.
var semanticsViews = []string{"overlay", "fuse"}

// oracleViews are what TestOracle asks for. It takes FUSE instead of the overlay where the
// archive has a directory with too long a path for that.
var oracleViews = []string{"overlay", "fuse"}

// droppedView is the FUSE view with a spill directory and a cache of nothing: each
// segment of the archive is dropped as soon as it was read.
const droppedView = "dropped cache"

// TestOracle does random things to a mount, to tmpfs and to a naive model, and
// compares every answer and, after each step, all that there is. Once in a while
// the workspace is committed and mounted again in between. What is found goes into
// TestOracleRegressions.
//
// The sequences are the same in each run, so that a change is judged by what it
// changes. To look for more, set WORKDIR_INTEGRATION_SEED to a number, or to 0 for a
// random one, and WORKDIR_ORACLE_CHECKS to a large one. A failure prints the sequence,
// and -rapid.seed with the seed to repeat it.
func TestOracle(t *testing.T) {
	needRoot(t)
	setRapid(t, checksVariable, 100)
	for _, view := range append(slices.Clone(oracleViews), droppedView) {
		t.Run(view, func(t *testing.T) {
			w := newOracleWorld(t, view)
			rapid.Check(t, func(t *rapid.T) {
				scene := rapid.SampledFrom(scenes).Draw(t, "scene")
				w.run(t, slices.Concat(scene, rapid.SliceOfN(oracleOps, 10, 100).Draw(t, "ops")))
			})
		})
	}
}

// setRapid has rapid try as many sequences as the variable says, checks without it, from
// the seed that was asked for.
func setRapid(t *testing.T, variable string, checks int) {
	t.Helper()
	must(t, flag.Set("rapid.checks", strconv.Itoa(testenv.Number(t, variable, checks))))
	must(t, flag.Set("rapid.nofailfile", "true"))
	if seed := flag.Lookup("rapid.seed").Value; seed.String() == "0" {
		must(t, seed.Set(strconv.Itoa(testenv.Number(t, seedVariable, 1))))
	}
}

// Sequences that TestOracle has found.
var oracleRegressions = []struct {
	name string // what was wrong
	ops  []op
}{
	{"ftruncate to the same size changed ctime alone", []op{
		{do: "open", path: ".", flags: unix.O_RDWR | unix.O_TMPFILE, mode: 0o640},
		{do: "ftruncate"},
	}},
	{"O_TRUNC of an empty file changed nothing", []op{
		{do: "open", path: "a", flags: unix.O_RDWR | unix.O_CREAT, mode: 0o644},
		{do: "open", path: "a", slot: 1, flags: unix.O_WRONLY | unix.O_TRUNC},
		{do: "truncate", path: "a"},
		{do: "write", n: 5000},
		{do: "truncate", path: "a", n: 5000},
		{do: "ftruncate", n: 5000},
	}},
	{"to open a file took its privileges", []op{
		{do: "open", path: "a", flags: unix.O_RDWR | unix.O_CREAT, mode: 0o644},
		{do: "chmod", path: "a", mode: 0o6755},
		{do: "open", path: "a", slot: 1, flags: unix.O_RDWR},
	}},
	{"a truncate to the size of another file was done by the model alone", []op{
		{do: "open", path: "b", slot: 1, flags: unix.O_RDWR | unix.O_CREAT, mode: 0o644},
		{do: "open", path: "a", flags: unix.O_WRONLY | unix.O_CREAT, mode: 0o644},
		{do: "write", slot: 1, n: 1},
		{do: "truncate", path: "b"},
		{do: "chmod", path: "c", mode: 0o2755},
	}},
	{"where an archive has no extended attributes, their list was an error", []op{
		{do: "mkdir", path: "a", mode: 0o755},
		{do: remount},
		{do: "fsync"},
		{do: "contents"},
	}},
	{"where an archive has no extended attributes, one that is not there was another error", []op{
		{do: "open", path: "a", flags: unix.O_RDWR | unix.O_CREAT, mode: 0o644},
		{do: remount},
		{do: "getxattr", path: "a", attr: "user.a"},
	}},
}

func TestOracleRegressions(t *testing.T) {
	needRoot(t)
	for _, view := range append(slices.Clone(oracleViews), droppedView) {
		t.Run(view, func(t *testing.T) {
			w := newOracleWorld(t, view)
			for _, r := range oracleRegressions {
				t.Run(r.name, func(t *testing.T) { w.run(t, r.ops) })
			}
		})
	}
}

// oracleWorld has what all sequences in one view share.
type oracleWorld struct {
	dir  string
	opts mount.Options
	runs int
}

func newOracleWorld(t *testing.T, view string) *oracleWorld {
	t.Helper()
	w := &oracleWorld{dir: memoryDir(t)}
	for _, sub := range []string{"run", "spill", "store"} {
		must(t, os.Mkdir(filepath.Join(w.dir, sub), 0o700))
	}
	w.opts = mount.Options{
		RunDir: filepath.Join(w.dir, "run"), KeepEmpty: true, AllowOther: true, Owner: &mount.Owner{Keep: true},
		Logger: slog.New(slog.DiscardHandler), // what Python cannot read is no matter here
	}
	var err error
	if view == droppedView {
		view = string(mount.ViewFUSE)
		w.opts.Spill = filepath.Join(w.dir, "spill")
		w.opts.CacheBytes = 1
	}
	w.opts.View, err = mount.ParseView(view)
	must(t, err)
	umask := unix.Umask(0)
	t.Cleanup(func() {
		unix.Umask(umask)
		if err := mount.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// open mounts a workspace, by FUSE where the archive is one that no overlay can show.
func (w *oracleWorld) open(t rapid.TB, key string) *mount.Mount {
	t.Helper()
	opts := w.opts
	m, err := mount.Open(context.Background(), "file://"+filepath.Join(w.dir, "store", key), &opts)
	if err != nil && opts.View == mount.ViewOverlay && (strings.Contains(err.Error(), "a directory has a path of") || strings.Contains(err.Error(), "is a hard link")) {
		opts.View = mount.ViewFUSE
		m, err = mount.Open(context.Background(), "file://"+filepath.Join(w.dir, "store", key), &opts)
	}
	must(t, err)
	return m
}

func (w *oracleWorld) close(t rapid.TB, m *mount.Mount) {
	t.Helper()
	if _, err := m.Close(context.Background()); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// remount commits a workspace and mounts it again.
func (w *oracleWorld) remount(t rapid.TB, m *mount.Mount, key string) *mount.Mount {
	t.Helper()
	must(t, m.Commit())
	w.close(t, m)
	return w.open(t, key)
}

// run does one sequence to new trees.
func (w *oracleWorld) run(t rapid.TB, ops []op) {
	t.Helper()
	w.runs++
	tmpfs := filepath.Join(w.dir, fmt.Sprint("tmpfs", w.runs))
	must(t, os.Mkdir(tmpfs, 0o755))
	defer os.RemoveAll(tmpfs)
	key := strconv.Itoa(w.runs)
	o := &oracle{t: t, world: w, key: key, model: newNaive(), theirs: newOracleSide(tmpfs)}
	o.mounted(w.open(t, key))
	defer o.close()
	for _, op := range ops {
		o.did = append(o.did, op)
		o.one(op)
	}
	o.one(op{do: remount})
	o.one(op{do: "contents"})
}

// oracle compares three sides.
type oracle struct {
	t      rapid.TB
	world  *oracleWorld
	key    string       // of the workspace
	mount  *mount.Mount // nil while there is none
	ours   *oracleSide
	theirs *oracleSide
	model  *naive
	stored bool // holes may be other ones than they were
	did    []op

	remounts int64
}

func (o *oracle) mounted(m *mount.Mount) {
	o.mount, o.ours = m, newOracleSide(m.Path())
	var st unix.Statfs_t
	must(o.t, unix.Statfs(m.Path(), &st))
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		o.ours.mountedOverlay(o.t)
	}
}

// close ends a sequence, wherever it is.
func (o *oracle) close() {
	o.theirs.closeFiles()
	o.ours.closeFiles()
	if o.mount == nil {
		return
	}
	if _, err := o.mount.Close(context.Background()); err != nil {
		o.t.Errorf("close: %v", err)
	}
}

// one does one operation to every side.
func (o *oracle) one(p op) {
	o.t.Helper()
	tick()
	if p.do == remount {
		o.remount()
		return
	}
	if o.ours.stored == nil && o.model.truncatesToSame(p) {
		return // docs/semantics.md, truncate-to-the-same-size
	}
	want := o.model.do(p)
	if want == answerSkip {
		return
	}
	theirs, ours := o.theirs.do(p), o.ours.do(p)
	switch {
	case want != answerAny && want != theirs:
		o.fail("%s: the model says %s, tmpfs %s", p, want, theirs)
	case ours != theirs && (p.do != "seek" || !o.stored):
		o.fail("%s: the mount says %s, tmpfs %s", p, ours, theirs)
	}
	o.compare()
	if p.do == "contents" {
		o.same("content", o.model.contents(), o.theirs.contents(o.t), o.ours.contents(o.t))
	}
}

// tick waits until the next stamp of a file is newer than all that there are. The
// kernel stamps with its coarse clock, but never with less than the finest stamp that
// it has given (ktime_get_coarse_real_ts64_mg in kernel/time/timekeeping.c), of which
// the coarse clock may be more than one of its ticks behind.
func tick() {
	for start := clock(unix.CLOCK_REALTIME); clock(unix.CLOCK_REALTIME_COARSE) <= start; {
		runtime.Gosched()
	}
}

func clock(id int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // a clock that there is
	return ts.Nano()
}

// compare compares all that there is, but the content of files.
func (o *oracle) compare() {
	o.t.Helper()
	theirs, theirTimes := o.theirs.snapshot(o.t, len(o.did))
	ours, ourTimes := o.ours.snapshot(o.t, len(o.did))
	o.ours.likeTmpfs(ours, theirs)
	o.ours.changedLikeTmpfs(ourTimes, theirTimes, len(o.did))
	o.same("tree", o.model.snapshot(), theirs, ours)
	want := linesOf(theirTimes)
	o.same("times", want, want, linesOf(ourTimes))
}

func linesOf(times []seenAt) (lines []string) {
	for _, at := range times {
		lines = append(lines, at.String())
	}
	return lines
}

func (o *oracle) same(what string, model, theirs, ours []string) {
	o.t.Helper()
	for _, c := range []struct {
		name string
		got  []string
	}{{"model", model}, {"mount", ours}} {
		if !slices.Equal(c.got, theirs) {
			o.fail("%s of %s and tmpfs differ (- tmpfs, + %s):\n%s", what, c.name, c.name, lineDifference(theirs, c.got))
		}
	}
}

func lineDifference(want, got []string) string {
	var lines []string
	for _, line := range want {
		if !slices.Contains(got, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return strings.Join(lines, "\n")
}

// fail prints what was done, as a test to paste.
func (o *oracle) fail(format string, args ...any) {
	o.t.Helper()
	var b strings.Builder
	for _, p := range o.did {
		fmt.Fprintf(&b, "\t%v,\n", p)
	}
	o.t.Fatalf(format+"\nafter\n%s", append(args, b.String())...)
}

// remount commits the workspace and opens it again. What an archive does not keep
// (docs/semantics.md) is taken away before, by ordinary operations on every side.
func (o *oracle) remount() {
	o.t.Helper()
	for _, p := range o.model.notStored() {
		o.one(p)
	}
	for slot := range slots {
		o.one(op{do: "close", slot: slot})
	}
	o.remounts++
	o.one(op{do: "chown", path: ".", n: o.remounts}) // the time of a directory alone is not stored
	before := o.ours.byPath(o.t)
	m := o.mount
	o.mount, o.stored = nil, true
	o.mounted(o.world.remount(o.t, m, o.key))
	o.ours.adopt(o.t, before, len(o.did))
	o.theirs.forgetChanges(len(o.did))
	o.compare()
	o.same("content", o.model.contents(), o.theirs.contents(o.t), o.ours.contents(o.t))
}

// notStored returns operations that take away what an archive does not keep.
func (m *naive) notStored() (ops []op) {
	seen := map[*naiveNode]bool{}
	m.walk(func(path string, n *naiveNode) {
		kind := n.kind()
		again := seen[n] && (kind == unix.S_IFLNK || kind == unix.S_IFIFO)
		if kind == unix.S_IFSOCK || again {
			ops = append(ops, op{do: "unlink", path: path})
			return
		}
		seen[n] = true
		for _, name := range sorted(slices.Collect(maps.Keys(n.xattrs))) {
			if !strings.HasPrefix(name, "user.") {
				ops = append(ops, op{do: "removexattr", path: path, attr: name})
			}
		}
	})
	return ops
}

// byPath returns what was seen of each name.
func (s *oracleSide) byPath(t rapid.TB) map[string]sighting {
	all := map[string]sighting{}
	s.walk(t, func(path string, st *unix.Stat_t) { all[path] = s.seen[st.Ino] })
	return all
}

// adopt takes the times of files that were modified before they were stored, which
// must be as they were. All of them have changed since, for ctime is not stored.
func (s *oracleSide) adopt(t rapid.TB, before map[string]sighting, step int) {
	t.Helper()
	s.walk(t, func(path string, st *unix.Stat_t) {
		was, known := before[path]
		if !known || was.mtime != st.Mtim {
			t.Fatalf("%q comes back with mtime %v, had %v", path, st.Mtim, was.mtime)
		}
		s.seen[st.Ino] = sighting{mtime: st.Mtim, ctime: st.Ctim, modified: was.modified, changed: step}
	})
}

// forgetChanges makes step the one in which everything has changed.
func (s *oracleSide) forgetChanges(step int) {
	for ino, was := range s.seen {
		was.changed = step
		s.seen[ino] = was
	}
}
