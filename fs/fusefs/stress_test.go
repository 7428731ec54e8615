package fusefs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// Several goroutines do everything in the same few directories; afterwards the mount and
// the tree agree. Under the race detector the child is watched as well.
func TestManyAtOnce(t *testing.T) {
	m := newMount(t, childConfig{})
	for i := range 3 {
		if err := os.Mkdir(filepath.Join(m.dir, fmt.Sprint("d", i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range 500 {
				if err := something(m.dir, r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	seen := tools(t, m.dir)
	m.unmount()
	walk := m.ask("walk").Walk
	for path, a := range walk {
		st, ok := seen[path]
		if !ok || a.Ino != st.Ino || a.Mode != st.Mode || a.Nlink != uint32(st.Nlink) || a.Size != st.Size ||
			(fs.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)}) != a.Mtime {
			t.Errorf("%q: tree has %+v, tools saw %+v", path, a, st)
		}
	}
	if len(walk) != len(seen) {
		t.Errorf("tree has %d names, tools saw %d", len(walk), len(seen))
	}
}

// something does one thing in one of the directories. That it cannot be done is no
// error, as long as the reason is one that others can have brought about.
func something(dir string, r *rand.Rand) error {
	name := func() string { return filepath.Join(dir, fmt.Sprintf("d%d/n%d", r.IntN(3), r.IntN(12))) }
	var err error
	switch r.IntN(10) {
	case 0:
		err = unix.Mkdir(name(), 0o755)
	case 1:
		err = unix.Rmdir(name())
	case 2:
		err = unix.Link(name(), name())
	case 3:
		err = unix.Rename(name(), name())
	case 4:
		err = unix.Renameat2(unix.AT_FDCWD, name(), unix.AT_FDCWD, name(), unix.RENAME_EXCHANGE)
	case 5:
		err = unix.Unlink(name())
	case 6:
		err = unix.Symlink("target", name())
	case 7:
		_, err = os.ReadDir(filepath.Dir(name()))
	default:
		err = os.WriteFile(name(), make([]byte, r.IntN(20_000)), 0o644)
	}
	var errno unix.Errno
	fine := []unix.Errno{unix.ENOENT, unix.EEXIST, unix.EISDIR, unix.ENOTDIR, unix.ENOTEMPTY, unix.EPERM, unix.EINVAL, unix.ELOOP}
	if err == nil || errors.As(err, &errno) && slices.Contains(fine, errno) {
		return nil
	}
	return err
}

// tools returns the lstat(2) of everything below dir.
func tools(t *testing.T, dir string) map[string]unix.Stat_t {
	t.Helper()
	seen := map[string]unix.Stat_t{}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if rel == "." {
			rel = ""
		}
		var st unix.Stat_t
		err = unix.Lstat(path, &st)
		seen[rel] = st
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

// Go programs send themselves signals all the time, and each makes the kernel send
// INTERRUPT for the request that it meets. No tool may see an error of it.
func TestInterruptsAreNoErrors(t *testing.T) {
	m := newMount(t, childConfig{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := unix.Kill(os.Getpid(), unix.SIGURG); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for i := range 300 {
		path := filepath.Join(m.dir, fmt.Sprint(i))
		if err := os.WriteFile(path, make([]byte, 10_000), 0o644); err != nil {
			t.Error(err)
		}
		if err := os.Rename(path, path+"x"); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestLimitsAreTold(t *testing.T) {
	const limit, inodes = 1 << 20, 10
	m := newMount(t, childConfig{MaxBytes: limit, MaxInodes: inodes})
	var st unix.Statfs_t
	if err := unix.Statfs(m.dir, &st); err != nil {
		t.Fatal(err)
	}
	if st.Blocks*uint64(st.Frsize) != limit || st.Files != inodes {
		t.Errorf("statfs: %d blocks of %d, %d inodes", st.Blocks, st.Frsize, st.Files)
	}
	made := 1 // the root
	for ; ; made++ {
		err := unix.Mkdir(filepath.Join(m.dir, fmt.Sprint(made)), 0o755)
		if errors.Is(err, unix.ENOSPC) {
			break
		}
		if err != nil || made > inodes {
			t.Fatalf("mkdir %d: %v", made, err)
		}
	}
	if made != inodes {
		t.Errorf("ENOSPC after %d inodes, want %d", made, inodes)
	}
}

// Once each listing of a directory left a reference to its parent behind, so that
// directories which were removed went on counting against the limit.
func TestListedDirectoriesAreForgotten(t *testing.T) {
	m := newMount(t, childConfig{MaxInodes: 10})
	for i := range 20 {
		deep := filepath.Join(m.dir, "a/b/c")
		if err := os.MkdirAll(deep, 0o755); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		for dir := deep; dir != m.dir; dir = filepath.Dir(dir) {
			if _, err := os.ReadDir(dir); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The time of birth comes by STATX, and stays.
func TestBirthTime(t *testing.T) {
	m := newMount(t, childConfig{})
	path := filepath.Join(m.dir, "f")
	birth := func() unix.StatxTimestamp {
		t.Helper()
		var sx unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &sx); err != nil {
			t.Fatal(err)
		}
		if sx.Mask&unix.STATX_BTIME == 0 {
			t.Fatal("statx tells no time of birth")
		}
		return sx.Btime
	}
	before := clock(unix.CLOCK_REALTIME_COARSE)
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	first := birth()
	if ns := first.Sec*1e9 + int64(first.Nsec); ns < before || ns > clock(unix.CLOCK_REALTIME_COARSE) {
		t.Errorf("born at %d, made after %d", ns, before)
	}
	tick()
	if err := os.WriteFile(path, []byte("more"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := birth(); again != first {
		t.Errorf("born at %v, later at %v", first, again)
	}
}
