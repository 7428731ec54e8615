package mount

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/workdir/workdir/mount/internal/host"
)

// bench is a store and a run directory for benchmarks.
type bench struct {
	b      *testing.B
	store  string
	runDir string
}

func newBench(b *testing.B) *bench {
	b.Helper()
	dir := b.TempDir()
	e := &bench{b: b, store: filepath.Join(dir, "store"), runDir: filepath.Join(dir, "run")}
	if err := os.Mkdir(e.store, 0o755); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.must(Stop(context.Background())) })
	return e
}

func (e *bench) must(err error) {
	e.b.Helper()
	if err != nil {
		e.b.Fatal(err)
	}
}

func (e *bench) open(key string, opts Options) *Mount {
	e.b.Helper()
	opts.RunDir = e.runDir
	m, err := Open(context.Background(), "file://"+e.store+"/"+key, &opts)
	e.must(err)
	return m
}

func (e *bench) close(m *Mount) {
	e.b.Helper()
	_, err := m.Close(context.Background())
	e.must(err)
}

func (e *bench) server(m *Mount) int {
	e.b.Helper()
	status, err := m.Status(context.Background())
	e.must(err)
	return status.ServerPID
}

// cost is what a process takes of the machine.
type cost struct {
	memory         int64 // private and dirty, bytes; content in memory is not the process's
	threads, files int
}

func (e *bench) cost(pid int) cost {
	e.b.Helper()
	proc := fmt.Sprintf("/proc/%d/", pid)
	b, err := os.ReadFile(proc + "smaps_rollup")
	e.must(err)
	c := cost{memory: field(b, "Private_Dirty:") << 10}
	b, err = os.ReadFile(proc + "status")
	e.must(err)
	c.threads = int(field(b, "Threads:"))
	names, err := os.ReadDir(proc + "fd")
	e.must(err)
	c.files = len(names)
	return c
}

// rest is the cost once the server has become quiet and does not change any more.
func (e *bench) rest(pid int) cost {
	last := e.cost(pid)
	for same := 0; same < 3; {
		time.Sleep(host.QuietTime)
		now := e.cost(pid)
		same++
		if now.memory < last.memory*9/10 {
			same = 0
		}
		last = now
	}
	return last
}

// field returns the number that follows a name in a file of /proc.
func field(b []byte, name string) int64 {
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return -1
}

// manyMounts is how many BenchmarkManyMounts has at once.
const manyMounts = 200

// BenchmarkManyMounts measures what each of many mounts costs the server beyond its
// content: after the open, and after large reads and writes in all of them.
func BenchmarkManyMounts(b *testing.B) {
	for _, c := range []struct {
		name string
		opts Options
	}{
		{"memory", Options{}},
		{"spill", Options{Spill: b.TempDir()}},
		{"read-only", Options{ReadOnly: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			e := newBench(b)
			e.content("key", 4<<20)
			for b.Loop() {
				e.manyMounts(c.opts)
			}
		})
	}
}

// content stores a workspace with one file.
func (e *bench) content(key string, size int) {
	e.b.Helper()
	m := e.open(key, Options{})
	e.must(os.WriteFile(m.Path("file"), []byte(noise(size)), 0o644))
	e.must(m.Commit())
	e.close(m)
}

func (e *bench) manyMounts(opts Options) {
	keep := e.open("none", Options{})
	server := e.server(keep)
	before := e.cost(server)
	mounts := make([]*Mount, manyMounts)
	for i := range mounts {
		mounts[i] = e.open("key", opts)
	}
	opened := e.cost(server)
	var wg sync.WaitGroup
	for turn := range 4 { // not all at once: there is one machine
		for i := turn; i < len(mounts); i += 4 {
			wg.Go(func() { e.must(largeIO(mounts[i], opts.ReadOnly)) })
		}
		wg.Wait()
	}
	used := e.cost(server)
	rest := e.rest(server)
	for _, m := range mounts {
		e.close(m)
	}
	closed := e.rest(server)
	e.close(keep)
	e.b.ReportMetric(float64(opened.memory-before.memory)/manyMounts/1024, "KiB/mount-opened")
	e.b.ReportMetric(float64(used.memory-before.memory)/manyMounts/1024, "KiB/mount-used")
	e.b.ReportMetric(float64(rest.memory-before.memory)/manyMounts/1024, "KiB/mount-rest")
	e.b.ReportMetric(float64(closed.memory-before.memory)/1024, "KiB-left")
	e.b.ReportMetric(float64(used.threads), "threads")
	e.b.ReportMetric(float64(used.files-before.files)/manyMounts, "files/mount")
	e.b.ReportMetric(float64(closed.files-before.files), "files-left")
}

// largeIO reads a file whole, and writes as much in pieces of 1 MiB.
func largeIO(m *Mount, readOnly bool) error {
	b, err := os.ReadFile(m.Path("file"))
	if err != nil || readOnly {
		return err
	}
	file, err := os.Create(m.Path("copy"))
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{bytes.NewReader(b)}, make([]byte, 1<<20)); err != nil {
		return err
	}
	return file.Sync()
}

// times are how long something took.
type times []time.Duration

func (t times) report(b *testing.B, what string) {
	slices.Sort(t)
	b.ReportMetric(float64(t[len(t)/2].Microseconds())/1000, what+"-p50-ms")
	b.ReportMetric(float64(t[len(t)*99/100].Microseconds())/1000, what+"-p99-ms")
}

// smallWorkspace stores a workspace of 50 files.
func (e *bench) smallWorkspace(key string) {
	e.b.Helper()
	m := e.open(key, Options{})
	for i := range 50 {
		e.must(os.WriteFile(m.Path(fmt.Sprintf("f%d", i)), []byte(noise(4<<10)), 0o644))
	}
	e.must(m.Commit())
	e.close(m)
}

// BenchmarkOpenSmall opens a small workspace of a local store, in a server that runs.
func BenchmarkOpenSmall(b *testing.B) {
	for name, opts := range map[string]Options{"read-write": {}, "read-only": {ReadOnly: true}} {
		b.Run(name, func(b *testing.B) {
			e := newBench(b)
			e.smallWorkspace("key")
			var opens, closes times
			for b.Loop() {
				start := time.Now()
				m := e.open("key", opts)
				opens = append(opens, time.Since(start))
				start = time.Now()
				e.close(m)
				closes = append(closes, time.Since(start))
			}
			opens.report(b, "open")
			closes.report(b, "close")
		})
	}
}

// BenchmarkCommitSmall closes a mount with a small change, which is stored, and for
// comparison writes as many bytes to the same disk and syncs them as a store must:
// the file, and twice the directory.
func BenchmarkCommitSmall(b *testing.B) {
	e := newBench(b)
	e.smallWorkspace("key")
	var commits, syncs times
	for b.Loop() {
		m := e.open("key", Options{})
		e.must(os.WriteFile(m.Path("f0"), []byte(time.Now().String()), 0o644))
		e.must(m.Commit())
		start := time.Now()
		e.close(m)
		commits = append(commits, time.Since(start))
		start = time.Now()
		e.must(e.diskAlone())
		syncs = append(syncs, time.Since(start))
	}
	commits.report(b, "commit")
	syncs.report(b, "disk")
}

// diskAlone replaces a file as large as the archive, durably.
func (e *bench) diskAlone() error {
	b, err := os.ReadFile(filepath.Join(e.store, "key.tar.gz"))
	if err != nil {
		return err
	}
	dir := filepath.Join(filepath.Dir(e.store), "disk")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, "file")
	file, err := os.Create(name + ".new")
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(b); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(name+".new", name); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
