package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
)

func TestPlainClientKilled(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own directory %v", own), func(t *testing.T) {
			f := newFixture(t)
			dir := ""
			if own {
				dir = t.TempDir()
			}
			client, _, path := f.mounted(dir, "WORKDIR_TEST_VIEW=plain")
			if err := client.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = client.Wait() // killed
			if _, err := os.Lstat(filepath.Join(path, "written")); err != nil {
				t.Fatalf("nothing is left to clear away, and the test tests nothing: %v", err)
			}
			f.commit("other", "name", "content")
			if _, err := os.Lstat(filepath.Join(path, "written")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what the killed client left: %v, want it gone", err)
			}
			if _, err := os.Lstat(path); own != (err == nil) {
				t.Errorf("the directory itself: %v", err)
			}
			if f.bytes("k") != nil {
				t.Error("an archive was stored")
			}
		})
	}
}

// A process whose program lies in the workspace, or that maps one of its files, uses it.
func TestPlainBusyByMapping(t *testing.T) {
	f := newFixture(t)
	m := f.openPlain("k", Options{})
	shell(t, m, "cp /bin/sleep tool")
	cmd := exec.Command(m.Path("tool"), "1000")
	cmd.Dir = "/"
	holder(t, "/", cmd)
	_, err := m.Close(t.Context())
	var busy *BusyError
	if !errors.As(err, &busy) || len(busy.Processes) != 1 || busy.Processes[0].Use != "mapping" {
		t.Errorf("Close = %v, want busy by the mapping of process %d", err, cmd.Process.Pid)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	f.close(m, false)
}

// This program also uses the directory while it has a file of it open.
func TestPlainBusyByOurselves(t *testing.T) {
	f := newFixture(t)
	m := f.openPlain("k", Options{})
	file, err := os.Create(m.Path("open"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(m.Path("open")); err != nil { // known by its path alone
		t.Fatal(err)
	}
	_, err = m.Close(t.Context())
	var busy *BusyError
	if !errors.As(err, &busy) || len(busy.Processes) != 1 || busy.Processes[0].PID != os.Getpid() {
		t.Errorf("Close = %v, want busy by this process", err)
	}
	file.Close()
	f.close(m, false)
}

// Where something is mounted in the directory, it is neither stored nor removed.
func TestPlainSomethingMountedInIt(t *testing.T) {
	f := newFixture(t)
	m := f.openPlain("k", Options{})
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "kept"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.Path("sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(outside, m.Path("sub"), "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	_, err := m.Close(t.Context())
	var busy *BusyError
	if !errors.As(err, &busy) {
		t.Errorf("Close = %v, want busy", err)
	}
	if err := unix.Unmount(m.Path("sub"), 0); err != nil {
		t.Fatal(err)
	}
	f.close(m, false)
	if _, err := os.Lstat(filepath.Join(outside, "kept")); err != nil {
		t.Errorf("what was mounted is gone: %v", err)
	}
}

// On tmpfs a write through a mapping that was read before sets no time. Such a change was
// once not noticed, and was lost silently.
func TestPlainMappedWrite(t *testing.T) {
	for name, dir := range map[string]string{"tmpfs": "/dev/shm", "disk": ""} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.commit("k", "name", "content")
			own, err := os.MkdirTemp(dir, "workdir-test-")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(own)
			m := f.openPlain("k", Options{Dir: own})
			file, err := os.OpenFile(m.Path("name"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			page, err := unix.Mmap(int(file.Fd()), 0, len("content"), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			file.Close()
			if err != nil {
				t.Fatal(err)
			}
			if read := string(page); read != "content" { // so that the pages are mapped
				t.Fatalf("content = %q", read)
			}
			copy(page, "CONTENT")
			if err := unix.Munmap(page); err != nil {
				t.Fatal(err)
			}
			if res := f.close(m, true); !res.Stored || res.Changes.Modified != 1 {
				t.Errorf("result = %+v, want one modified file", res)
			}
			if got := f.content("k", "name"); got != "CONTENT" {
				t.Errorf("content = %q", got)
			}
		})
	}
}

// A path that no archive can have is an archive's limit, however the workspace is shown.
func TestPathTooLong(t *testing.T) {
	for _, view := range []View{ViewFUSE, ViewOverlay, ViewPlain} {
		t.Run(string(view), func(t *testing.T) {
			f := newFixture(t)
			m := f.open("k", &Options{View: view})
			makeDeepDir(t, m.Path())
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			_, err := m.Close(t.Context())
			if !errors.Is(err, ErrCommit) || !errors.Is(err, archive.ErrLimit) || !strings.Contains(err.Error(), "remove or shorten") {
				t.Errorf("Close = %v, want ErrCommit for the archive's limit", err)
			}
		})
	}
}

// makeDeepDir makes directories in a directory until their path is longer than PATH_MAX.
func makeDeepDir(t *testing.T, path string) {
	t.Helper()
	at, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 250)
	for range 17 {
		if err := unix.Mkdirat(at, name, 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err = errors.Join(err, unix.Close(at)); err != nil {
			t.Fatal(err)
		}
		at = next
	}
	if err := unix.Close(at); err != nil {
		t.Fatal(err)
	}
}
