package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

// serve keeps a mount until it ends: closed by a command of another process, ended by
// umount(8), lost with its server, or closed by a signal. If a mount is busy when a signal
// requests its end it stays, and the next signal retries. A mount that commands can no longer
// reach, because it has left our mount table, is closed once its last users are gone. If stay
// is set a mount that has lost its server stays until it is unmounted, so that nobody works in
// the directory beneath it.
func (a *app) serve(m *mount.Mount, sigs <-chan os.Signal, stay bool) (mount.Result, error) {
	gone := watchMountpoint(m.Device())
	done := m.Done()
	told := ""
	for {
		unreachable, ended := false, false
		select {
		case <-done:
			ended = true
		case <-gone:
			unreachable = true
		case <-sigs:
		}
		if _, err := m.Status(context.Background()); stay && (ended || unreachable) && errors.Is(err, mount.ErrServerLost) {
			a.log.Error("the mount is dead, and stays until it is unmounted", "cause", err)
			<-m.Done()
			stay, done, gone = false, nil, watchMountpoint(m.Device()) // which may be a different mount now
			continue
		}
		if ended {
			return m.Close(context.Background())
		}
		result, err := a.closeOnSignal(m, sigs)
		if !errors.Is(err, mount.ErrBusy) {
			return result, err
		}
		if !unreachable || told != err.Error() {
			a.printError(err)
		}
		told = err.Error()
	}
}

// closeOnSignal unmounts and, if marked, stores. The next signal cancels that, and the one
// after it stops waiting.
func (a *app) closeOnSignal(m *mount.Mount, sigs <-chan os.Signal) (mount.Result, error) {
	bar := a.newProgress()
	defer bar.finish()
	result, err := cancelling(sigs, 1, m.Close)
	if m.Marked() {
		err = mayBeStored(err)
	}
	return result, err
}

// watchMountpoint returns a channel that is closed when the mount of a device has left our
// mount table, including by umount -l, which does not end a mount in use. It is nil, and so
// never ready, if there is nothing to watch: a plain directory, whose device is "".
func watchMountpoint(dev string) <-chan struct{} {
	if dev == "" {
		return nil
	}
	// Not os.Open, with which the runtime polls the file too: the kernel reports a change once
	// for each open file, to the first poll (mounts_poll in fs/namespace.c).
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	table := os.NewFile(uintptr(fd), "/proc/self/mountinfo")
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer table.Close()
		for inTable(table, dev) {
			waitForChange(table)
		}
	}()
	return gone
}

// longestLine is the maximum line length of a mount table, in bytes. An overlay's line grows
// with its layers.
const longestLine = 1 << 20

// inTable reports whether a file system is mounted; dev is the third field of
// its line, see proc_pid_mountinfo(5).
func inTable(table *os.File, dev string) bool {
	if _, err := table.Seek(0, 0); err != nil {
		return false
	}
	lines := bufio.NewScanner(table)
	lines.Buffer(nil, longestLine)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 2 && fields[2] == dev {
			return true
		}
	}
	return false
}

// waitForChange returns when the mount table has changed since it was read: the
// kernel returns POLLPRI then, see proc_pid_mounts(5).
func waitForChange(table *os.File) {
	fds := []unix.PollFd{{Fd: int32(table.Fd()), Events: unix.POLLPRI}}
	for {
		_, err := unix.Poll(fds, -1)
		if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}
