package fusefs

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A scenario does something in a directory and records what it sees. It is run on tmpfs and
// in mounts, and the records must be equal.
type scenario struct {
	name string
	run  func(*recorder)
}

// configs are the mounts that every scenario runs in.
var configs = []struct {
	name string
	cfg  childConfig
}{
	{"default", childConfig{}},
	{"one processor", childConfig{Procs: 1}},
	{"no writeback", childConfig{Disable: []string{"writeback"}}},
	{"on an image", childConfig{Image: true}},
	{"old kernel", childConfig{Disable: []string{"writeback", "killpriv", "readdirplus", "statx", "copy_file_range"}}},
}

func TestScenarios(t *testing.T) {
	unix.Umask(0o022)
	oracle := newTmpfs(t)
	type result struct{ name, log string }
	var want []result
	all := scenarios()
	for _, s := range all {
		want = append(want, result{s.name, record(t, oracle, s)})
	}
	for _, c := range configs {
		t.Run(c.name, func(t *testing.T) {
			m := newMount(t, c.cfg)
			for i, s := range all {
				t.Run(s.name, func(t *testing.T) {
					got := record(t, m.dir, s)
					if got != want[i].log {
						t.Errorf("differs from tmpfs (- tmpfs, + mount):\n%s", difference(want[i].log, got))
					}
				})
			}
			if r := m.ask("err"); r.Err != "<nil>" {
				t.Errorf("tree: %s", r.Err)
			}
		})
	}
}

func scenarios() []scenario {
	var all []scenario
	for _, some := range [][]scenario{nameScenarios, attrScenarios, contentScenarios, privScenarios} {
		all = append(all, some...)
	}
	return all
}

// record runs s in a directory of its own below dir, and removes that.
func record(t *testing.T, dir string, s scenario) string {
	t.Helper()
	r := &recorder{t: t, dir: filepath.Join(dir, strings.ReplaceAll(s.name, " ", "-"))}
	if err := os.Mkdir(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.run(r)
	for i := len(r.atEnd) - 1; i >= 0; i-- {
		r.atEnd[i]()
	}
	if err := os.RemoveAll(r.dir); err != nil {
		t.Fatalf("clean up: %v", err)
	}
	return strings.Join(r.log, "\n")
}

// difference shows the lines of both logs that do not agree.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		a, c := line(w, i), line(g, i)
		if a != c {
			fmt.Fprintf(&b, "- %s\n+ %s\n", a, c)
		}
	}
	return b.String()
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// recorder is the record of a scenario. Paths are relative to its directory.
type recorder struct {
	t     *testing.T
	dir   string
	log   []string
	atEnd []func()
}

func (r *recorder) path(name string) string { return filepath.Join(r.dir, name) }

func (r *recorder) note(format string, args ...any) {
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

// do notes the outcome of a call.
func (r *recorder) do(what string, err error) {
	if err == nil {
		r.note("%s: ok", what)
		return
	}
	var errno unix.Errno
	if e, ok := err.(unix.Errno); ok {
		errno = e
	}
	r.note("%s: %s", what, unix.ErrnoName(errno))
}

// must is for steps that are not compared.
func (r *recorder) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%s", err)
	}
}

// open opens until the scenario ends, and notes only a failure.
func (r *recorder) open(name string, flags int, mode uint32) int {
	fd, err := unix.Open(r.path(name), flags|unix.O_CLOEXEC, mode)
	if err != nil {
		r.do("open "+name, err)
		return -1
	}
	r.atEnd = append(r.atEnd, func() { _ = unix.Close(fd) })
	return fd
}

// file makes a file with content.
func (r *recorder) file(name, content string) {
	r.t.Helper()
	r.must(os.WriteFile(r.path(name), []byte(content), 0o644))
}

func (r *recorder) content(name string) {
	b, err := os.ReadFile(r.path(name))
	if err != nil {
		r.note("read %s: %v", name, unix.ErrnoName(err.(*os.PathError).Err.(unix.Errno)))
		return
	}
	r.note("read %s: %d bytes, %.60q", name, len(b), b)
}

// stat records the result of lstat(2), without inode numbers, times and the blocks of
// directories.
func (r *recorder) stat(name string) {
	var st unix.Stat_t
	if err := unix.Lstat(r.path(name), &st); err != nil {
		r.do("stat "+name, err)
		return
	}
	r.noteStat("stat "+name, &st)
}

func (r *recorder) fstat(fd int) {
	var st unix.Stat_t
	r.must(unix.Fstat(fd, &st))
	r.noteStat("fstat", &st)
}

func (r *recorder) noteStat(what string, st *unix.Stat_t) {
	r.note("%s: mode %o nlink %d uid %d gid %d size %d rdev %#x blksize %d",
		what, st.Mode, st.Nlink, st.Uid, st.Gid, st.Size, st.Rdev, st.Blksize)
}

// blocks notes the blocks of a file, which no process may have open for writing.
func (r *recorder) blocks(name string) {
	var st unix.Stat_t
	r.must(unix.Lstat(r.path(name), &st))
	r.note("blocks %s: %d", name, st.Blocks)
}

func (r *recorder) list(name string) {
	entries, err := os.ReadDir(r.path(name)) // sorted
	if err != nil {
		r.note("list %s: error", name)
		return
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name()+" "+e.Type().String())
	}
	r.note("list %s: %q", name, names)
}

// changes notes which times of the named files f changes. It waits for the clock
// to move on before f and after, so that a change shows. A file that f renames is
// named as "from>to".
func (r *recorder) changes(what string, f func(), names ...string) {
	r.t.Helper()
	from, to := make([]string, len(names)), make([]string, len(names))
	for i, name := range names {
		var renamed bool
		if from[i], to[i], renamed = strings.Cut(name, ">"); !renamed {
			to[i] = name
		}
	}
	before := r.times(from)
	tick()
	f()
	tick()
	after := r.times(to)
	for i, name := range names {
		var changed []string
		for j, which := range []string{"mtime", "ctime"} {
			if before[i][j] != after[i][j] {
				changed = append(changed, which)
			}
		}
		r.note("%s changes of %s: %s", what, name, strings.Join(changed, " "))
	}
}

func (r *recorder) times(names []string) [][2]unix.Timespec {
	r.t.Helper()
	var all [][2]unix.Timespec
	for _, name := range names {
		var st unix.Stat_t
		r.must(unix.Lstat(r.path(name), &st))
		all = append(all, [2]unix.Timespec{st.Mtim, st.Ctim})
	}
	return all
}

// tick waits until the next stamp of a file is newer than all existing ones. The kernel
// stamps with its coarse clock, but never with less than the finest stamp that it has made
// (ktime_get_coarse_real_ts64_mg in kernel/time/timekeeping.c); the coarse clock may be
// more than one tick behind that.
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

// as runs f on a thread of its own as an ordinary user without groups. The thread
// ends with it, for its credentials cannot be given back.
func as(uid, gid int, f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		for _, c := range [][4]uintptr{
			{unix.SYS_SETGROUPS, 0, 0, 0},
			{unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)},
			{unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)},
		} {
			if _, _, errno := unix.RawSyscall(c[0], c[1], c[2], c[3]); errno != 0 {
				panic(errno)
			}
		}
		f()
	}()
	<-done
}
