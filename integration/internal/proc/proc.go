// Package proc looks at the processes and mounts of this machine, for tests that
// start programs, kill them, and check for leftovers.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Mount is a line of the mount table, see proc_pid_mountinfo(5).
type Mount struct{ Path, FSType, Source, Options string }

// Mounts reads the mount table of this process. Paths that have characters which
// are escaped there stay escaped.
func Mounts() ([]Mount, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var table []Mount
	for line := range strings.Lines(string(b)) {
		left, right, _ := strings.Cut(line, " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) >= 6 && len(r) >= 2 {
			table = append(table, Mount{Path: l[4], Options: l[5], FSType: r[0], Source: r[1]})
		}
	}
	return table, nil
}

// WorkspaceMounts returns the mountpoints of workspaces, in the FUSE view and as overlays,
// that are mounted below a directory or whose archives are there.
func WorkspaceMounts(dir string) ([]string, error) {
	table, err := Mounts()
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, m := range table {
		ours := strings.HasPrefix(m.FSType, "fuse") || m.FSType == "overlay" && strings.HasPrefix(m.Source, "workdir/")
		if ours && (strings.HasPrefix(m.Path, dir+"/") || strings.Contains(m.Source, dir+"/")) {
			paths = append(paths, m.Path)
		}
	}
	return paths, nil
}

// LeaveMounts is a shell command for a new mount namespace: it detaches the mounts of
// workspaces there, which would be in use for as long as the namespace lives.
const LeaveMounts = `sed -nE 's|^([^ ]+ ){4}([^ ]+) .* - (fuse[.]workdir\|overlay workdir/).*|\2|p' /proc/self/mountinfo | while read -r m; do umount --lazy "$(printf %b "$m")"; done`

// Marked returns the processes that have a variable in their environment, see
// HasVariable, and have not ended. This process is not among them.
func Marked(variable string) []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*") // fails on a bad pattern only
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && pid != os.Getpid() && HasVariable(pid, variable) && Alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// HasVariable reports whether a process was started with a variable,
// "NAME=value", in its environment.
func HasVariable(pid int, variable string) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	return err == nil && bytes.Contains(append([]byte{0}, b...), []byte("\x00"+variable+"\x00"))
}

// Alive reports whether a process runs. One that has ended and waits for its
// parent does not.
func Alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	state := bytes.TrimLeft(b[bytes.LastIndexByte(b, ')')+1:], " ")
	return len(state) > 0 && state[0] != 'Z' && state[0] != 'X'
}

// CommandLine returns the arguments of a process, separated by spaces.
func CommandLine(pid int) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return err.Error()
	}
	return string(bytes.ReplaceAll(b, []byte{0}, []byte{' '}))
}

// exitLimit is how long a killed process may take to end.
const exitLimit = time.Minute

// AwaitExit waits until every thread of the process of a pidfd_open(2) has ended.
func AwaitExit(pidfd int) error {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, int(exitLimit/time.Millisecond))
		if err == unix.EINTR {
			continue
		}
		if err != nil || n != 1 {
			return fmt.Errorf("a killed process did not end within %v: %w", exitLimit, err)
		}
		return nil
	}
}
