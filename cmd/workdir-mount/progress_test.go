package main

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

// openTerminal makes a pseudo terminal, see pty(7).
func openTerminal(t *testing.T) (ptmx, tty *os.File) {
	t.Helper()
	open := func(path string) *os.File {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	ptmx = open("/dev/ptmx")
	if err := unix.IoctlSetPointerInt(int(ptmx.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(ptmx.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	return ptmx, open("/dev/pts/" + strconv.Itoa(n))
}

func TestProgressOnTerminal(t *testing.T) {
	ptmx, tty := openTerminal(t)
	shown := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(ptmx) // EIO, once the terminal is closed
		shown <- string(b)
	}()
	p := (&app{stderr: tty}).newProgress()
	p.update(mount.Progress{Phase: mount.PhaseOpening, Bytes: 1 << 20, Total: 2 << 20})
	p.bar.Write() // it draws itself only if the work takes longer
	p.update(mount.Progress{Phase: mount.PhaseCommitting, Bytes: 1 << 10})
	p.bar.Write()
	p.finish()
	p.update(mount.Progress{Phase: "too late"})
	tty.Close()
	got := <-shown
	for _, want := range []string{"opening", "2.00 MiB", "committing"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q on the terminal: %q", want, got)
		}
	}
	if strings.Contains(got, "too late") {
		t.Errorf("shown after the end: %q", got)
	}
}

func TestProgressElsewhere(t *testing.T) {
	_, tty := openTerminal(t)
	var out bytes.Buffer
	for name, a := range map[string]*app{"a pipe": {stderr: &out}, "quiet": {stderr: tty, quiet: true}} {
		p := a.newProgress()
		if p.out != nil {
			t.Errorf("%s: progress is shown", name)
		}
		p.update(mount.Progress{Phase: mount.PhaseOpening})
		p.finish()
	}
}
