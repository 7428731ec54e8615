package mount

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Tools open lock files to be written and write nothing, and make temporary files that
// they remove. That once stored a new revision, and met conflicts.
func TestWhatChangesNothingStoresNothing(t *testing.T) {
	open := func(path string, flags int) error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return err
		}
		return errors.Join(unix.Flock(fd, unix.LOCK_EX), unix.Close(fd))
	}
	for name, opts := range map[string]Options{
		"memory": {}, "spill": {Spill: t.TempDir()}, "plain": {Plain: true, Grace: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			m := f.open("k", nil)
			f.write(m, "lock", "")
			f.write(m, "data", "content")
			f.close(m, true)
			m = f.open("k", &opts)
			for _, err := range []error{
				open(m.Path("lock"), unix.O_RDWR|unix.O_CREAT),
				open(m.Path("lock"), unix.O_WRONLY|unix.O_APPEND),
				open(m.Path("data"), unix.O_RDWR),
				mapData(m.Path("data")),
				os.Mkdir(m.Path("tmp"), 0o755),
				os.WriteFile(m.Path("tmp/file"), []byte("temporary"), 0o644),
				os.RemoveAll(m.Path("tmp")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if f.view == ViewFUSE && !opts.Plain { // in the others it is a change of time like any other
				for range 2 {
					if err := open(m.Path("lock"), unix.O_RDWR|unix.O_CREAT|unix.O_TRUNC); err != nil {
						t.Fatal(err)
					}
				}
			}
			f.commit("k", "data", "of another one, who would be in conflict")
			if res := f.close(m, true); res.Stored || res.Changes.Total() != 0 {
				t.Errorf("%+v, want nothing stored", res)
			}
		})
	}
}

// mapData maps a file to be written, and reads it.
func mapData(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	p, err := unix.Mmap(int(file.Fd()), 0, 7, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if string(p) != "content" {
		err = fmt.Errorf("mapped: %q", p)
	}
	return errors.Join(err, unix.Munmap(p))
}
