package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

func TestSignalsEndTheCommand(t *testing.T) {
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		for _, to := range []string{"process", "group"} {
			t.Run(unix.SignalName(sig)+" to the "+to, func(t *testing.T) {
				t.Parallel()
				c := newClient(t, "exec", "store/job", "--", "sh", "-c", "ulimit -c 0; echo new >f; echo ready; exec sleep 1000")
				c.start()
				c.waitLine("ready")
				pid := c.cmd.Process.Pid
				if to == "group" {
					pid = -pid
				}
				if err := unix.Kill(pid, sig); err != nil {
					t.Fatal(err)
				}
				if got, want := c.wait(), 128+int(sig); got != want {
					t.Errorf("exit code %d, want %d", got, want)
				}
				if want := "the command was ended by " + unix.SignalName(sig) + ": 1 changed file discarded"; !strings.Contains(c.stderr.String(), want) {
					t.Errorf("standard error is %q, want %q in it", &c.stderr, want)
				}
				c.wantNothingStored()
			})
		}
	}
}

// A signal to our process group, as supervisors send it, must reach the command
// once and not once more through us. SIGTERM, which comes after it, shows that
// nothing more is to come. A command that then exits 0 has returned cleanly.
func TestSignalReachesTheCommandOnce(t *testing.T) {
	c := newClient(t, "exec", "store/job", "--", "count-interrupts")
	c.start()
	c.waitLine("ready")
	if err := unix.Kill(-c.cmd.Process.Pid, unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	c.wantOneInterrupt()
}

// On a terminal Ctrl-C reaches the command by itself and must not be sent again.
func TestCtrlCReachesTheCommandOnce(t *testing.T) {
	c := newClient(t, "exec", "store/job", "--", "count-interrupts")
	terminal := c.onTerminal()
	c.start()
	c.waitLine("ready")
	if _, err := terminal.Write([]byte{3}); err != nil {
		t.Fatal(err)
	}
	c.wantOneInterrupt()
}

func (c *client) wantOneInterrupt() {
	c.t.Helper()
	c.waitLine("interrupted")
	c.signal(unix.SIGTERM)
	if code := c.wait(); code != 0 {
		c.t.Fatalf("exit code %d, standard error:\n%s", code, &c.stderr)
	}
	if got := c.stored("count"); got != "1" {
		c.t.Errorf("the command got %s interrupts, want 1", got)
	}
}

// What a shell runs must end with the shell, or it would keep the mount busy.
func TestSignalReachesAllThatTheCommandRuns(t *testing.T) {
	c := newClient(t, "exec", "--grace=10ms", "store/job", "--", "sh", "-c", "echo ready; sleep 1000 >/dev/null 2>&1; exit 0")
	c.start()
	c.waitLine("ready")
	c.signal(unix.SIGTERM)
	if code := c.wait(); code != 143 {
		t.Errorf("exit code %d, want 143; standard error:\n%s", code, &c.stderr)
	}
	if strings.Contains(c.stderr.String(), "in use") {
		t.Errorf("standard error is %q", &c.stderr)
	}
}

// The command of an exec that was killed once went on, in a mount that was gone.
func TestKilledExecEndsTheCommand(t *testing.T) {
	c := newClient(t, "exec", "store/job", "--", "sh", "-c", "echo $$; exec sleep 1000")
	c.start()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	command, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = unix.PidfdSendSignal(command, unix.SIGKILL, nil, 0) // ended already, unless the test failed
		unix.Close(command)
	}()
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "end of the command", func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(command), Events: unix.POLLIN}}, 0)
		return n == 1 && err == nil
	})
	c.wait()
	eventually(t, "end of the mount", func() bool { return len(mountsBelow(c.dir)) == 0 })
	c.wantNothingStored()
}

// What nohup made us ignore stays ignored, by us and by the command.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	c := newClient(t)
	c.cmd.Path = "/bin/sh"
	c.cmd.Args = []string{"sh", "-c", `trap "" HUP; exec workdir-mount exec store/job -- sh -c "echo ready; read x; echo \$x >f"`}
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.start()
	c.waitLine("ready")
	c.signal(unix.SIGHUP)
	if _, err := io.WriteString(in, "done\n"); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(); code != 0 {
		t.Fatalf("exit code %d, standard error:\n%s", code, &c.stderr)
	}
	if got := c.stored("f"); got != "done\n" {
		t.Errorf("stored %q", got)
	}
}

// A command that waits for the workspace to be opened can be interrupted, and leaves nothing
// behind: no mount, and no process that keeps one.
func TestSignalWhileOpening(t *testing.T) {
	for _, args := range [][]string{
		{"exec", "--dir", "dir", "store/job", "--", "true"},
		{"mount", "--foreground", "store/job", "dir"},
		{"mount", "store/job", "dir"},
	} {
		t.Run(strings.Join(args[:2], " "), func(t *testing.T) {
			t.Parallel()
			c := newClient(t, args...)
			for _, dir := range []string{"run", "dir"} {
				if err := os.Mkdir(filepath.Join(c.dir, dir), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(c.dir, "run", ".lock")
			unlock := lock(t, path, os.O_CREATE|os.O_RDWR)
			defer unlock()
			c.start()
			eventually(t, "client that waits", func() bool { return hasOpen(c.cmd.Process.Pid, path) })
			c.signal(unix.SIGTERM)
			if code := c.wait(); code != 143 {
				t.Errorf("exit code %d, want 143; standard error:\n%s", code, &c.stderr)
			}
			if !strings.Contains(c.stderr.String(), "interrupted by SIGTERM") {
				t.Errorf("standard error is %q", &c.stderr)
			}
			c.wantNothingStored()
		})
	}
}

// committing starts exec with a command that has ended, and a commit that waits until
// release is called. stderr is the file that has its standard error.
func committing(t *testing.T) (c *client, stderr string, release func()) {
	t.Helper()
	c = newClient(t, "exec", "store/job", "--", "sh", "-c", "echo new >f")
	home := filepath.Join(c.dir, "store", ".workdir")
	if err := os.MkdirAll(home, 0o700); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(filepath.Join(home, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	release = func() { _ = held.Close() } // twice, mostly
	t.Cleanup(release)
	if err := unix.FcntlFlock(held.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	said, err := os.Create(filepath.Join(c.dir, "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = said.Close() })
	c.cmd.Stderr = said
	c.start()
	eventually(t, "temporary file in the store", func() bool {
		files, err := os.ReadDir(home)
		return err != nil || len(files) > 1
	})
	return c, said.Name(), release
}

// A Ctrl-C for the command that came when it had just ended cancelled the commit.
func TestSignalAfterTheCommandCancelsNothing(t *testing.T) {
	c, stderr, release := committing(t)
	c.signal(unix.SIGINT)
	waitText(t, stderr, "SIGINT after the command has ended: its changes are being stored; another signal cancels that")
	release()
	if code := c.wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "store", "job.tar.gz")); err != nil {
		t.Error(err)
	}
}

// A commit that waits for the store can be interrupted by the second signal; nothing is
// stored then.
func TestSecondSignalWhileCommitting(t *testing.T) {
	c, stderr, _ := committing(t)
	c.signal(unix.SIGINT)
	waitText(t, stderr, "another signal cancels that")
	c.signal(unix.SIGINT)
	if code := c.wait(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	waitText(t, stderr, "nothing was stored")
	c.wantNothingStored()
}

// A second signal while a mount is being closed gives up: the mount is detached,
// and nothing is stored though it was marked.
func TestSecondSignalGivesUp(t *testing.T) {
	c := newClient(t, "mount", "--foreground", "--json", "--grace", "10m", "store/job", "dir")
	dir := filepath.Join(c.dir, "dir")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c.start()
	c.waitLine("}")
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c.command("commit", "dir")
	c.signal(unix.SIGTERM)
	eventually(t, "unmounting", func() bool {
		return strings.Contains(c.command("status", "--json", "dir"), `"state":"unmounting"`)
	})
	c.signal(unix.SIGINT)
	if code := c.wait(); code != 130 {
		t.Errorf("exit code %d, want 130; standard error:\n%s", code, &c.stderr)
	}
	f.Close()
	eventually(t, "end of the mount", func() bool { return len(mountsBelow(dir)) == 0 })
	c.wantNothingStored()
}

// A store whose file system hangs, as a dead file server does, made exec deaf to signals.
func TestThirdSignalEndsTheWaitForAStoreThatHangs(t *testing.T) {
	server := newClient(t, "mount", "--foreground", "--json", "store/hangs", "dir")
	if err := os.Mkdir(filepath.Join(server.dir, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	server.start()
	line, err := server.out.ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var status mount.Status
	if err := json.Unmarshal(line, &status); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, "exec", "file://"+filepath.Join(status.Path, "job"), "--", "sh", "-c", "echo new >f; echo ready; read -r go; echo gone")
	in, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.start()
	c.waitLine("ready")
	var own []mount.Status
	if err := json.Unmarshal([]byte(c.command("status", "--json")), &own); err != nil || len(own) != 1 {
		t.Fatalf("status: %+v, %v", own, err)
	}
	if err := syscall.Kill(status.ServerPID, unix.SIGSTOP); err != nil { // from here on the store hangs
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(status.ServerPID, unix.SIGKILL) }() // done already, mostly
	if _, err := io.WriteString(in, "go\n"); err != nil {
		t.Fatal(err)
	}
	c.waitLine("gone")
	eventually(t, "unmount", func() bool { return len(mountsBelow(c.dir)) == 0 })
	eventually(t, "request to the store that hangs", func() bool { return waitsForFUSE(own[0].ServerPID) })
	c.signal(unix.SIGINT)
	c.signal(unix.SIGTERM) // others: two of a kind that come together are one
	c.signal(unix.SIGHUP)
	code := c.wait()
	if err := syscall.Kill(status.ServerPID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if said := c.stderr.String(); code != exitUnknown || !strings.Contains(said, "may have been stored: interrupted by ") || !strings.Contains(said, ": gave up") {
		t.Errorf("exit code %d, want %d; standard error:\n%s", code, exitUnknown, said)
	}
	if code := server.wait(); code != exitServerLost {
		t.Errorf("the mount that was the store ends with %d, want %d", code, exitServerLost)
	}
}
