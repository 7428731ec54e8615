package fsupper

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// wide is an image of directories with a thousand empty files in each.
type wide struct{ dirs uint32 }

const perDir = 1000

func (w wide) Len() int                      { return int(1 + w.dirs*(1+perDir)) }
func (w wide) Inode(row uint32) uint32       { return row }
func (w wide) Target(uint32) string          { return "" }
func (w wide) Xattrs(uint32) []fs.Xattr      { return nil }
func (w wide) Content(uint32) fs.Base        { return nil }
func (w wide) file(dir, i uint32) (r uint32) { return 1 + w.dirs + dir*perDir + i }

func (w wide) Attr(row uint32) fs.Attr {
	a := fs.Attr{Ino: uint64(row) + 1, Mode: syscall.S_IFREG | 0o644, Nlink: 1, Mtime: baseTime}
	switch {
	case row == 0:
		a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2+w.dirs
	case row <= w.dirs:
		a.Mode, a.Nlink = syscall.S_IFDIR|0o755, 2
	}
	return a
}

func (w wide) Children(row uint32) (first, n uint32) {
	switch {
	case row == 0:
		return 1, w.dirs
	case row <= w.dirs:
		return w.file(row-1, 0), perDir
	}
	return 0, 0
}

func (w wide) Name(row uint32) string {
	switch {
	case row == 0:
		return ""
	case row <= w.dirs:
		return fmt.Sprintf("d%04d", row-1)
	}
	return fmt.Sprintf("f%04d", (row-1-w.dirs)%perDir)
}

// upperOf makes an upper directory by hand, with the arguments of Apply.
func upperOf(b *testing.B, img fs.Image, fill func(upper string)) (t *fs.Tree, upper int, opts *Options, end func()) {
	b.Helper()
	home, err := fs.NewTmpfsHome(16<<30, 5_000_000)
	must(b, err)
	t, err = fs.NewOn(img, home, nil)
	must(b, err)
	backing, err := fs.NewBackingDir(home)
	must(b, err)
	must(b, unix.Mkdirat(backing.FD(), "upper", 0o755))
	upper = openAt(b, backing.FD(), "upper")
	fill(fmt.Sprintf("/proc/self/fd/%d", upper))
	return t, upper, &Options{Backing: backing}, func() {
		_ = unix.Close(upper)
		must(b, t.Close())
		must(b, backing.Close())
		must(b, home.Close())
	}
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// cpu returns the processor time of this process. Unlike elapsed time, it does not depend
// on the load of the machine.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var use unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// written makes new directories and files, as many as w has.
func written(b *testing.B, w wide) func(string) {
	return func(upper string) {
		for dir := range w.dirs {
			path := fmt.Sprintf("%s/new%04d", upper, dir)
			must(b, os.Mkdir(path, 0o755))
			for i := range perDir {
				must(b, os.WriteFile(fmt.Sprintf("%s/f%04d", path, i), []byte("content"), 0o644))
			}
		}
	}
}

// marked makes what chmod of all files of w to a mode leaves.
func marked(b *testing.B, w wide, mode uint32) func(string) {
	return func(upper string) {
		for dir := range w.dirs {
			path := fmt.Sprintf("%s/d%04d", upper, dir)
			must(b, os.Mkdir(path, 0o755))
			for i := range uint32(perDir) {
				name := fmt.Sprintf("%s/f%04d", path, i)
				must(b, os.WriteFile(name, nil, 0o644))
				must(b, os.Chmod(name, os.FileMode(mode)))
				must(b, unix.Lsetxattr(name, ownPrefix+"origin", []byte(handle(w.file(dir, i)+1)), 0))
				must(b, unix.Lsetxattr(name, ownPrefix+"metacopy", nil, 0))
				at := unix.Timespec{Sec: baseTime.Sec, Nsec: int64(baseTime.Nsec)}
				must(b, unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{at, at}, 0))
			}
		}
	}
}

// hidden makes what the removal of all directories of w leaves.
func hidden(b *testing.B, w wide) func(string) {
	return func(upper string) {
		must(b, unix.Mknod(upper+"/whiteout", unix.S_IFCHR, 0))
		for dir := range w.dirs {
			must(b, os.Link(upper+"/whiteout", fmt.Sprintf("%s/d%04d", upper, dir)))
		}
	}
}

// BenchmarkApply measures the cost of a change, in time and in heap that stays, for a
// number of changed entries, or for three in a tree of a million.
func BenchmarkApply(b *testing.B) {
	three := func(upper string) {
		must(b, os.WriteFile(upper+"/new", []byte("content"), 0o644))
		must(b, unix.Mknod(upper+"/d0007", unix.S_IFCHR, 0))
		must(b, os.Mkdir(upper+"/d0008", 0o700))
	}
	million := wide{1000}
	for _, c := range []struct {
		name    string
		img     wide
		fill    func(string)
		entries int
	}{
		{"3 of 1000000", million, three, 3 + perDir},
		{"10000 new", wide{1}, written(b, wide{10}), 10_000},
		{"1000000 new", wide{1}, written(b, million), 1_000_000},
		{"100000 new", wide{1}, written(b, wide{100}), 100_000},
		{"10000 chmod", wide{10}, marked(b, wide{10}, 0o600), 10_000},
		{"1000000 chmod", million, marked(b, million, 0o600), 1_000_000},
		{"1000000 chmod to the same", million, marked(b, million, 0o644), 1_000_000},
		{"1000000 removed", million, hidden(b, million), 1_000_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				t, upper, opts, end := upperOf(b, c.img, c.fill)
				before, start := heap(), cpu(b)
				b.StartTimer()
				_, err := Count(b.Context(), t, upper, -1, nil)
				b.StopTimer()
				must(b, err)
				counted := cpu(b)
				b.StartTimer()
				err = Apply(b.Context(), t, upper, -1, opts)
				b.StopTimer()
				must(b, err)
				b.ReportMetric(float64((counted - start).Microseconds()), "cpu-µs-count")
				b.ReportMetric(float64((cpu(b) - counted).Microseconds()), "cpu-µs-apply")
				b.ReportMetric((heap()-before)/float64(c.entries), "heap-B/entry")
				end()
			}
		})
	}
}
