package fusefs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// steps are things that tools do, and the requests that they may cost: figures of
// the kernel's own making, which a change here must not raise; docs/adr/0013 has the cause
// of each. RELEASE and FORGET are not counted, nobody waits for them.
var steps = []struct {
	name string
	do   func(dir string) error
	want string
}{
	{"first listing", list, "map[GETATTR:1 OPENDIR:1 READDIRPLUS:2]"},
	{"listing", list, "map[]"},
	{"stat", func(d string) error { return stat(d + "/f") }, "map[]"},
	{"first absent stat", absent, "map[LOOKUP:1]"},
	{"absent stat", absent, "map[]"},
	{"first read", read, "map[FLUSH:1 OPEN:1 READ:1]"},
	{"stat after a read", func(d string) error { return stat(d + "/f") }, "map[GETATTR:1]"},
	{"read", read, "map[]"},
	{"readlink", readlink, "map[READLINK:1]"},
	{"readlink again", readlink, "map[]"},
	{"mkdir", func(d string) error { return unix.Mkdir(d+"/new", 0o755) }, "map[LOOKUP:1 MKDIR:1]"},
	{"rmdir", func(d string) error { return unix.Rmdir(d + "/new") }, "map[GETATTR:1 RMDIR:1]"},
	{"create, write, close", create, "map[CREATE:1 GETATTR:1 GETXATTR:1 LOOKUP:1 SETATTR:1 WRITE:1]"},
	{"stat after a write", func(d string) error { return stat(d + "/c") }, "map[GETATTR:2]"},
	{"chmod", func(d string) error { return unix.Chmod(d+"/c", 0o600) }, "map[SETATTR:1]"},
	{"stat after a chmod", func(d string) error { return stat(d + "/c") }, "map[]"},
	{"fsync", fsync, "map[FSYNC:1]"},
	{"fsync again", fsync, "map[]"},
	{"rename", func(d string) error { return unix.Rename(d+"/c", d+"/r") }, "map[LOOKUP:1 RENAME:1 SETATTR:1]"},
	{"unlink", func(d string) error { return unix.Unlink(d + "/r") }, "map[GETATTR:1 SETATTR:1 UNLINK:1]"},
	{"mkdir again", func(d string) error { return unix.Mkdir(d+"/new", 0o755) }, "map[GETATTR:1 LOOKUP:1 MKDIR:1]"},
	{"symlink", func(d string) error { return unix.Symlink("f", d+"/l") }, "map[GETATTR:1 LOOKUP:1 SYMLINK:1]"},
	{"open, fstat, read, close", grep, "map[GETATTR:2]"}, // of the directory, and of the file since it was closed
	{"open, fstat, read, close again", grep, "map[GETATTR:1]"},
	{"1,000 small writes", appends, "map[CREATE:1 GETXATTR:1 LOOKUP:1 SETATTR:1 WRITE:1]"},
	{"a commit to a log", commit, "map[GETATTR:1 SETATTR:1 WRITE:1]"},
	{"a commit to a log again", commit, "map[SETATTR:1 WRITE:1]"},
	{"rename over a file", replace, "map[CREATE:1 GETATTR:1 LOOKUP:2 RENAME:1 SETATTR:2]"},
}

func list(dir string) error { _, err := os.ReadDir(dir); return err }
func stat(path string) error {
	var st unix.Stat_t
	return unix.Lstat(path, &st)
}

func absent(dir string) error {
	if err := stat(dir + "/absent"); err != unix.ENOENT {
		return fmt.Errorf("stat of nothing: %w", err)
	}
	return nil
}

func read(dir string) error {
	fd, err := unix.Open(dir+"/f", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if _, err := unix.Read(fd, make([]byte, 100)); err != nil {
		return err
	}
	return unix.Close(fd)
}

// grep is what grep -r does with a file.
func grep(dir string) error {
	fd, err := unix.Open(dir+"/f", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	statErr := unix.Fstat(fd, &st)
	_, readErr := unix.Read(fd, make([]byte, 100))
	return errors.Join(statErr, readErr, unix.Close(fd))
}

// replace is how an editor saves a file.
func replace(dir string) error {
	fd, err := unix.Open(dir+"/t", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(unix.Close(fd), unix.Rename(dir+"/t", dir+"/log"))
}

// appends writes a log line by line.
func appends(dir string) error {
	fd, err := unix.Open(dir+"/log", unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	tick()
	for range 1000 {
		if _, err := unix.Write(fd, make([]byte, 100)); err != nil {
			return err
		}
	}
	return unix.Close(fd)
}

// commit is how a database in WAL mode commits: a header, a page, and fdatasync(2).
func commit(dir string) error {
	fd, err := unix.Open(dir+"/log", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	tick()
	for i, size := range []int{24, 4096} {
		if _, err := unix.Pwrite(fd, make([]byte, size), int64(i*24)); err != nil {
			return err
		}
	}
	return errors.Join(unix.Fdatasync(fd), unix.Close(fd))
}

func readlink(dir string) error {
	_, err := unix.Readlink(dir+"/s", make([]byte, 100))
	return err
}

func create(dir string) error {
	fd, err := unix.Open(dir+"/c", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	tick() // or the write changes no times, and the close need not send them
	if _, err := unix.Write(fd, make([]byte, 4096)); err != nil {
		return err
	}
	return unix.Close(fd)
}

func fsync(dir string) error {
	fd, err := unix.Open(dir+"/f", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Fsync(fd); err != nil {
		return err
	}
	return unix.Close(fd)
}

func TestRequestsOfEachStep(t *testing.T) {
	m := newMount(t, childConfig{Files: map[string]string{"f": "content"}})
	if err := unix.Symlink("f", filepath.Join(m.dir, "s")); err != nil {
		t.Fatal(err)
	}
	before := m.ask("stats").Stats
	for _, s := range steps {
		if err := s.do(m.dir); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		after := m.ask("stats").Stats
		if got := fmt.Sprint(since(before, after)); got != s.want {
			t.Errorf("%s: %s, want %s", s.name, got, s.want)
		}
		before = after
	}
}

// What was read and is not written costs nothing from the third time on, and the second
// where no time of access is kept. Only the writeback cache asks after each close for how
// many blocks a file has.
func TestWarmFilesAskNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  childConfig
		want string
	}{
		{"read-only", childConfig{ReadOnly: true}, "[map[] map[]]"},
		{"write-through", childConfig{Disable: []string{"writeback"}}, "[map[GETATTR:1] map[]]"},
		{"writeback", childConfig{}, "[map[GETATTR:1] map[GETATTR:1]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Files = map[string]string{"f": "content"}
			m := newMount(t, c.cfg)
			var got []map[string]uint64
			for i := range 3 {
				before := m.ask("stats").Stats
				if err := grep(m.dir); err != nil {
					t.Fatal(err)
				}
				if i > 0 {
					got = append(got, since(before, m.ask("stats").Stats))
				}
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("second and third grep: %v, want %s", got, c.want)
			}
		})
	}
}

// A stat after a write must not cost the pages of the file, whoever keeps its mtime.
func TestPagesOutliveAStat(t *testing.T) {
	for _, c := range configs {
		t.Run(c.name, func(t *testing.T) {
			m := newMount(t, c.cfg)
			if err := errors.Join(create(m.dir), stat(m.dir+"/c")); err != nil {
				t.Fatal(err)
			}
			before := m.ask("stats").Stats
			if b, err := os.ReadFile(m.dir + "/c"); err != nil || len(b) != 4096 {
				t.Fatal(len(b), err)
			}
			if n := since(before, m.ask("stats").Stats)["READ"]; n > 0 {
				t.Errorf("%d READ", n)
			}
		})
	}
}

// since returns what was counted between two answers, without requests that may come at any
// time: RELEASE and FORGET, and STATFS for programs that look at all mounts.
func since(before, after map[string]uint64) map[string]uint64 {
	d := maps.Clone(after)
	for name, n := range before {
		d[name] -= n
	}
	maps.DeleteFunc(d, func(name string, n uint64) bool {
		return n == 0 || name == "RELEASE" || name == "FORGET" || name == "STATFS"
	})
	return d
}
