package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/mount"
)

// killRounds bounds how often leftovers are killed: a busy mount names one
// process of each foreign mount namespace at a time.
const killRounds = 8

// leftovers is a flag: what to do with processes that still use the workspace after the
// command.
type leftovers string

// The values of leftovers. The zero value stands for failOnLeftovers.
const (
	failOnLeftovers  leftovers = "fail"
	killLeftovers    leftovers = "kill"
	waitForLeftovers leftovers = "wait"
)

// forever is longer than any process runs.
const forever = 100 * 365 * 24 * time.Hour

// Set reads a flag.
func (l *leftovers) Set(s string) error {
	switch *l = leftovers(s); *l {
	case failOnLeftovers, killLeftovers, waitForLeftovers:
		return nil
	}
	return fmt.Errorf("%q is not fail, kill or wait", s)
}

func (l *leftovers) String() string { return string(*l) }

// Type is the name of the value in the help.
func (l *leftovers) Type() string { return "what" }

// adoptOrphans makes us the parent of processes that the command leaves behind, to distinguish
// them from other users of the mount (PR_SET_CHILD_SUBREAPER, prctl(2)). If that fails fewer
// processes are recognised as leftovers.
func adoptOrphans() {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
}

// closeMount closes m. With killLeftovers it ends the leftovers of the command that
// keep it busy, by SIGTERM first and after the grace period by SIGKILL.
func (a *app) closeMount(ctx context.Context, m *mount.Mount, l leftovers) (mount.Result, error) {
	result, err := m.Close(ctx)
	var busy *mount.BusyError
	for round := 0; l == killLeftovers && round < killRounds && errors.As(err, &busy); round++ {
		sig := unix.SIGKILL
		if round == 0 {
			sig = unix.SIGTERM
		}
		if !a.endLeftovers(busy.Processes, sig) {
			break
		}
		result, err = m.Close(ctx)
	}
	return result, err
}

// endLeftovers signals those of the processes that descend from us, and reports whether there
// were any. It does not touch others, such as a user's shell.
func (a *app) endLeftovers(processes []mount.Process, sig syscall.Signal) bool {
	found := false
	for _, p := range processes {
		if !descends(p.PID, os.Getpid()) {
			continue
		}
		found = true
		a.log.Info("leftover of the command gets "+unix.SignalName(sig), "pid", p.PID, "name", printable.Name(p.Name))
		_ = unix.Kill(p.PID, sig) // it may have ended by itself
	}
	return found
}

// descends reports whether pid is a descendant of ancestor.
func descends(pid, ancestor int) bool {
	for pid > 1 {
		parent, err := parentOf(pid)
		if err != nil {
			return false
		}
		if parent == ancestor {
			return true
		}
		pid = parent
	}
	return false
}

// parentOf reads the fourth field of /proc/PID/stat, see proc_pid_stat(5). The
// second one, a name in parentheses, may hold anything.
func parentOf(pid int) (int, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("process %d: no parent in its stat", pid)
	}
	return strconv.Atoi(string(fields[1]))
}

// processList names processes for a message.
func processList(processes []mount.Process) string {
	if len(processes) == 0 {
		return "processes of other users or in other mount namespaces"
	}
	names := make([]string, len(processes))
	for i, p := range processes {
		names[i] = fmt.Sprintf("process %d (%s: %s)", p.PID, printable.Name(p.Name), p.Use)
	}
	return strings.Join(names, ", ")
}
