package integration

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/mount"
)

// The server of a test's mounts is the test binary too. Asked by SIGUSR1, it writes
// how many goroutines it has to the file that censusVariable names.
const censusVariable = "WORKDIR_INTEGRATION_CENSUS"

func init() {
	file := os.Getenv(censusVariable)
	if file == "" || filepath.Base(os.Args[0]) != "workdir-server" {
		return
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	go func() {
		for range asked {
			count := strconv.Itoa(runtime.NumGoroutine())
			if err := os.WriteFile(file+".new", []byte(count), 0o644); err != nil {
				panic(err)
			}
			if err := os.Rename(file+".new", file); err != nil {
				panic(err)
			}
		}
	}()
}

// lives counts what a client and its server have.
type lives struct {
	clientFiles, serverFiles           int
	clientGoroutines, serverGoroutines int
	clientMaps, serverMaps             int // mappings of memory
	mounts                             int
	serverMemory                       int64 // anonymous, bytes
	content                            int64 // of all mounts that share a home, bytes
}

// count counts. Goroutines and descriptors of what was closed last may take a
// moment to go.
func (e *env) count(server int, census string) lives {
	e.t.Helper()
	_ = os.Remove(census) // it is there from the second time on
	if err := syscall.Kill(server, syscall.SIGUSR1); err != nil {
		e.t.Fatal(err)
	}
	var goroutines int
	testenv.WaitFor(e.t, "the server to count", func() bool {
		b, err := os.ReadFile(census)
		if err != nil {
			return false
		}
		goroutines, err = strconv.Atoi(string(b))
		return err == nil
	})
	return lives{
		clientFiles: openFiles(e.t, os.Getpid()), serverFiles: openFiles(e.t, server),
		clientGoroutines: runtime.NumGoroutine(), serverGoroutines: goroutines,
		clientMaps: mappings(e.t, os.Getpid()), serverMaps: mappings(e.t, server),
		mounts: len(e.mounts()), serverMemory: anonymousMemory(e.t, server),
	}
}

func openFiles(t *testing.T, pid int) int {
	t.Helper()
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// content is what all mounts have that share the home of an empty one.
func content(t *testing.T, empty *mount.Mount) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(empty.Path(), &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize
}

func mappings(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

func anonymousMemory(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "RssAnon:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no RssAnon in the status of process %d", pid)
	return 0
}

// client returns the options of mounts that the test itself opens, and stops their
// server at the end.
func (e *env) client() *mount.Options {
	e.t.Cleanup(func() {
		if err := mount.Stop(context.Background()); err != nil {
			e.t.Error(err)
		}
	})
	return &mount.Options{RunDir: e.runDir, Logger: slog.New(slog.NewTextHandler(e.t.Output(), nil))}
}

// Of a thousand mounts in a row, some stored, some that share a tree, some plain
// directories, nothing stays: no descriptor, no goroutine, no mount, no memory.
func TestThousandMounts(t *testing.T) {
	const warm, all = 50, 1000
	e := newEnv(t)
	census := e.path("census")
	t.Setenv(censusVariable, census)
	opts := e.client()
	keep, err := mount.Open(t.Context(), e.url("keep"), opts) // so that it is one server all the time
	if err != nil {
		t.Fatal(err)
	}
	status, err := keep.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var before lives
	for i := range all {
		if i == warm {
			before = e.count(status.ServerPID, census)
			before.content = content(t, keep)
		}
		shortLife(t, e, opts, i)
	}
	var after lives
	if !eventually(func() bool {
		after = e.count(status.ServerPID, census)
		after.content = content(t, keep)
		return after.leaks(before) == ""
	}) {
		t.Errorf("after %d mounts: %s", all-warm, after.leaks(before))
	}
	if _, err := keep.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// shortLife opens a mount, uses it and closes it.
func shortLife(t *testing.T, e *env, opts *mount.Options, i int) {
	t.Helper()
	o := *opts
	switch i % 5 {
	case 1:
		o.MaxBytes = 8 << 20
	case 2:
		o.ReadOnly = true
	case 3:
		o.ReadOnly = true
		twin := shortOpen(t, e, &o, i)
		defer shortClose(t, twin, i)
	case 4:
		o.Plain = true
	}
	m := shortOpen(t, e, &o, i)
	if !o.ReadOnly {
		if err := os.WriteFile(m.Path("file"), bytes.Repeat([]byte{byte(i)}, 1<<16), 0o644); err != nil {
			t.Fatal(err)
		}
		if i%20 < 5 {
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
		}
	} else if _, err := os.ReadFile(m.Path("file")); err != nil {
		t.Fatal(err)
	}
	shortClose(t, m, i)
}

func shortOpen(t *testing.T, e *env, opts *mount.Options, i int) *mount.Mount {
	t.Helper()
	m, err := mount.Open(t.Context(), e.url("k"), opts)
	if err != nil {
		t.Fatalf("mount %d: %v", i, err)
	}
	return m
}

func shortClose(t *testing.T, m *mount.Mount, i int) {
	t.Helper()
	if _, err := m.Close(t.Context()); err != nil {
		t.Fatalf("mount %d: %v", i, err)
	}
}

// leaks says what there is more of than before; a few goroutines and descriptors
// belong to what is ending right now, and memory to the garbage collector.
func (l lives) leaks(before lives) string {
	const few, someMemory = 20, 24 << 20
	var text []string
	for _, c := range []struct {
		what        string
		before, now int64
		more        int64
	}{
		{"descriptors of the client", int64(before.clientFiles), int64(l.clientFiles), few},
		{"descriptors of the server", int64(before.serverFiles), int64(l.serverFiles), few},
		{"goroutines of the client", int64(before.clientGoroutines), int64(l.clientGoroutines), few},
		{"goroutines of the server", int64(before.serverGoroutines), int64(l.serverGoroutines), few},
		{"mappings of the client", int64(before.clientMaps), int64(l.clientMaps), few},
		{"mappings of the server", int64(before.serverMaps), int64(l.serverMaps), few},
		{"mounts", int64(before.mounts), int64(l.mounts), 0},
		{"bytes of content", before.content, l.content, 0},
		{"bytes of the server", before.serverMemory, l.serverMemory, someMemory},
	} {
		if c.now > c.before+c.more {
			text = append(text, fmt.Sprintf("%d %s, were %d", c.now, c.what, c.before))
		}
	}
	return strings.Join(text, "; ")
}

// A hundred mounts at once, of one client: each is its own, and is stored.
func TestHundredMounts(t *testing.T) {
	const n = 100
	e := newEnv(t)
	opts := e.client()
	mounts := make([]*mount.Mount, n)
	inParallel(n, func(i int) {
		m, err := mount.Open(t.Context(), e.url(fmt.Sprintf("k%d", i)), opts)
		if err == nil {
			err = os.WriteFile(m.Path("file"), []byte(strconv.Itoa(i)), 0o644)
		}
		if err != nil {
			t.Error(err)
		}
		mounts[i] = m
	})
	if got := len(e.mounts()); got != n {
		t.Errorf("%d mounts in the mount table, want %d", got, n)
	}
	inParallel(n, func(i int) {
		m := mounts[i]
		if m == nil {
			return
		}
		if b, err := os.ReadFile(m.Path("file")); string(b) != strconv.Itoa(i) || err != nil {
			t.Errorf("mount %d has %q, %v", i, b, err)
		}
		if err := m.Commit(); err != nil {
			t.Error(err)
		}
		if res, err := m.Close(t.Context()); err != nil || !res.Stored {
			t.Errorf("mount %d: %+v, %v", i, res, err)
		}
	})
	for i := range n {
		if s, err := readArchive(e.archive(fmt.Sprintf("k%d", i))); s["file"] != strconv.Itoa(i) || err != nil {
			t.Errorf("archive %d has %v, %v", i, s, err)
		}
	}
}

// inParallel calls fn with 0 to n-1, all at once.
func inParallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

// A server that may open 1,024 files serves more files than that.
func TestFewDescriptors(t *testing.T) {
	const script = `
		mkdir d
		seq -f d/%g 5000 | xargs touch
		for i in $(seq 1500); do echo $i >d/$i; done
		cat d/* | md5sum >sum
		exec python3 -c '
import os
some = [open("d/%d" % (i + 1), "r+b") for i in range(900)]
for f in some: f.write(b"changed"); f.flush()
assert all(os.pread(f.fileno(), 7, 0) == b"changed" for f in some)
'`
	for _, p := range servings {
		t.Run(p.name, func(t *testing.T) {
			e := p.env(t)
			cmd := p.exec(e, nil, e.url("k"), script)
			mustRun(t, e.program("prlimit", append([]string{"--nofile=1024:1024", "--"}, cmd.Args...)...))
			if got := mustRun(t, p.exec(e, nil, e.url("k"), `ls d | wc -l; cat d/900; cat d/1500`)); got != "5000\nchanged1500\n" {
				t.Errorf("content = %q", got)
			}
		})
	}
}

// As many files are open at once as several processes may have, more than the
// server may.
func TestManyOpenFiles(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	each := int(min(limit.Max, 20000)) - 100
	const script = `exec python3 -c '
import os, subprocess, sys
if len(sys.argv) > 3:
    p, n = sys.argv[3], int(sys.argv[2])
    os.mkdir("d" + p)
    fds = [os.open("d%s/%d" % (p, i), os.O_RDWR | os.O_CREAT) for i in range(n)]
    print("ready", flush=True)
    sys.stdin.readline()
    for i, fd in enumerate(fds): os.write(fd, b"%d" % i)
    for i, fd in enumerate(fds): assert os.pread(fd, 9, 0) == b"%d" % i
    sys.exit()
me = open("/proc/self/cmdline").read().split("\0")[:-1]
all = [subprocess.Popen(me + [str(p + 1)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for p in range(int(sys.argv[1]))]
ready = [c.stdout.readline() for c in all]
for c in all: c.stdin.close()
ends = [c.wait() for c in all]
assert ready == ["ready\n"] * len(all) and ends == [0] * len(all), (ready, ends)
' "$@"`
	for _, p := range servings {
		t.Run(p.name, func(t *testing.T) {
			const total = 5000
			processes := (total + each - 1) / each
			e := p.env(t)
			cmd := p.exec(e, nil, e.url("k"), script, strconv.Itoa(processes), strconv.Itoa(total/processes))
			mustRun(t, e.program("prlimit", append([]string{fmt.Sprintf("--nofile=%d:%d", limit.Max, limit.Max), "--"}, cmd.Args...)...))
			last := total/processes - 1
			want := fmt.Sprintf("%d\n%d", total/processes, last)
			if got := mustRun(t, p.exec(e, nil, e.url("k"), fmt.Sprintf(`ls d%d | wc -l; cat d1/%d`, processes, last))); got != want {
				t.Errorf("content = %q, want %q", got, want)
			}
		})
	}
}

// The umask of the process that starts a mount does not affect tools, which use their own.
func TestUmask(t *testing.T) {
	const script = `umask 077; "$@"`
	for _, p := range servings {
		t.Run(p.name, func(t *testing.T) {
			e := p.env(t)
			work := p.exec(e, nil, e.url("k"), `touch f; mkdir d; umask 022; touch g; mkdir h; mkfifo p; stat -c %n%a d f g h p`)
			got := mustRun(t, e.program("sh", append([]string{"-c", script, "sh"}, work.Args...)...))
			if want := "d700\nf600\ng644\nh755\np644\n"; got != want {
				t.Errorf("modes = %q, want %q", got, want)
			}
			if got := mustRun(t, p.exec(e, nil, e.url("k"), `stat -c %n%a d f g h p`)); got != "d700\nf600\ng644\nh755\np644\n" {
				t.Errorf("modes after the remount = %q", got)
			}
		})
	}
}
