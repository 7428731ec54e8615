package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

// A mount that was unmounted as soon as it was announced once kept its keeper for ever:
// what the keeper then watched was the file system beneath.
func TestServeEndsWithTheMount(t *testing.T) {
	dir := t.TempDir()
	runDir := filepath.Join(dir, "run")
	for name, flags := range map[string]int{"umount": 0, "umount -l": unix.MNT_DETACH} {
		t.Run(name, func(t *testing.T) {
			m, err := mount.Open(t.Context(), "file://"+dir+"/job", &mount.Options{RunDir: runDir})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				_, _ = m.Close(context.Background()) // closed already
				if err := mount.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			}()
			user, err := os.Open(m.Path())
			if err != nil {
				t.Fatal(err)
			}
			defer user.Close()
			if flags == 0 {
				user.Close()
			}
			if err := unix.Unmount(m.Path(), flags); err != nil {
				t.Fatal(err)
			}
			a := &app{stdout: io.Discard, stderr: io.Discard, log: slog.New(slog.DiscardHandler)}
			ended := make(chan error, 1)
			go func() {
				_, err := a.serve(m, nil, false)
				ended <- err
			}()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("it serves still")
			}
		})
	}
}

// A line of the mount table may be long, such as that of an overlay of many layers. What
// stands after it was taken for unmounted.
func TestLongLineInTheMountTable(t *testing.T) {
	long := "21 20 0:20 / /long rw - overlay overlay rw,lowerdir=" + strings.Repeat("/layer:", 1<<14) + "\n"
	table, err := os.Create(filepath.Join(t.TempDir(), "mountinfo"))
	if err == nil {
		_, err = table.WriteString(long + "22 20 0:21 / /mnt rw - fuse.workdir job rw\n")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	if !inTable(table, "0:21") || inTable(table, "0:22") {
		t.Error("0:21 is not found behind a long line, or 0:22 is")
	}
}

// The runtime polled the mount table too, and one poll of two is told of a change, so
// that about every second end of a mount was not seen.
func TestMountTableIsPolledOnce(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("test", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }() // gone already, unless the test has failed
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	gone := watchMountpoint(fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
	tables := openFiles(t, "/mountinfo")
	if len(tables) == 0 {
		t.Fatal("the mount table is not open")
	}
	polled := map[string]bool{} // by an epoll(7) instance: proc_pid_fdinfo(5)
	for _, fd := range openFiles(t, "anon_inode:[eventpoll]") {
		b, err := os.ReadFile("/proc/self/fdinfo/" + fd)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "tfd:" {
				polled[fields[1]] = true
			}
		}
	}
	for _, fd := range tables {
		if polled[fd] {
			t.Errorf("the runtime polls the mount table, descriptor %s", fd)
		}
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	<-gone
}

// openFiles returns the descriptors of our open files whose name ends with suffix.
func openFiles(t *testing.T, suffix string) (fds []string) {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range all {
		name, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && strings.HasSuffix(name, suffix) { // an error: closed meanwhile
			fds = append(fds, fd.Name())
		}
	}
	return fds
}

// A mount whose last users were copies of it, in other mount namespaces, was kept for ever
// once it had been found busy: no command reached it, what it was to store was not stored,
// and commands to a new mount with its device number went to it.
func TestServeClosesWhatCommandsCannotReach(t *testing.T) {
	dir := t.TempDir()
	m, err := mount.Open(t.Context(), "file://"+dir+"/job", &mount.Options{RunDir: filepath.Join(dir, "run"), Grace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_, _ = m.Close(context.Background()) // closed already
		if err := mount.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := os.WriteFile(m.Path("name"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	end := copyMounts(t)
	busy := make(chan struct{}, 100)
	a := &app{stdout: io.Discard, stderr: writerFunc(func(p []byte) (int, error) { busy <- struct{}{}; return len(p), nil }), log: slog.New(slog.DiscardHandler)}
	type outcome struct {
		result mount.Result
		err    error
	}
	ended := make(chan outcome, 1)
	if _, err := m.Close(t.Context()); !errors.Is(err, mount.ErrBusy) { // as umount asks for
		t.Fatalf("Close = %v, want ErrBusy", err)
	}
	go func() {
		result, err := a.serve(m, nil, false)
		ended <- outcome{result, err}
	}()
	<-busy // it is not in the mount table, so it was tried
	end()
	select {
	case out := <-ended:
		if out.err != nil || !out.result.Stored {
			t.Errorf("serve = %+v, %v; want it stored", out.result, out.err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it serves still")
	}
}

// copyMounts starts a process that has copies of all mounts in a namespace of its own. end
// ends it, as does the end of the test.
func copyMounts(t *testing.T) (end func()) {
	t.Helper()
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", "echo; read end")
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // "read" fails at the end of its input
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return func() { in.Close() }
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
