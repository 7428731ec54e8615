package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxNamed limits the list in a BusyError.
const maxNamed = 32

// UsersOf finds the processes that keep a file system alive: by descriptor, working
// directory, root or mapping, or by a mount of it in their namespace. dev is "major:minor".
// Only root sees processes of other users.
func UsersOf(dev string) []Process {
	seen := map[string]bool{} // by mount namespace: it holds the mount
	ownNS, _ := os.Readlink("/proc/self/ns/mnt")
	seen[ownNS] = true
	return processesThat(func(dir string, pid int) string {
		if pid == os.Getpid() {
			return ""
		}
		return useOf(dir, dev, seen)
	})
}

// processesThat returns the processes for which use returns a text, by their directory in
// /proc and their number: at most maxNamed, sorted by number.
func processesThat(use func(dir string, pid int) string) []Process {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // fails only on a bad pattern
	var found []Process
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if u := use(dir, pid); u != "" {
			found = append(found, Process{PID: pid, Name: processName(dir), Use: u})
		}
		if len(found) == maxNamed {
			break
		}
	}
	slices.SortFunc(found, func(a, b Process) int { return a.PID - b.PID })
	return found
}

// useOf says how one process uses the file system, "" if it does not. The first process of
// each foreign mount namespace represents the namespace.
func useOf(dir, dev string, seen map[string]bool) string {
	ids := mountIDs(dir, dev)
	switch {
	case usesDescriptor(dir, ids):
		return "descriptor"
	case onDevice(dir+"/cwd", dev):
		return "working directory"
	case onDevice(dir+"/root", dev):
		return "root"
	case mapsDevice(dir, dev):
		return "mapping"
	}
	ns, err := os.Readlink(dir + "/ns/mnt")
	if err != nil || seen[ns] {
		return ""
	}
	seen[ns] = true
	if len(ids) > 0 {
		return "mount namespace"
	}
	return ""
}

// mountIDs returns the mounts of dev in the process's namespace.
func mountIDs(dir, dev string) map[string]bool {
	table, err := MountTable(filepath.Base(dir))
	if err != nil {
		return nil
	}
	ids := map[string]bool{}
	for _, e := range table {
		if e.Dev == dev {
			ids[strconv.Itoa(e.id)] = true
		}
	}
	return ids
}

// usesDescriptor looks at /proc/PID/fdinfo, which names the mount of each
// descriptor without touching its file.
func usesDescriptor(dir string, ids map[string]bool) bool {
	if len(ids) == 0 {
		return false
	}
	infos, _ := filepath.Glob(dir + "/fdinfo/*") // fails only on a bad pattern
	for _, info := range infos {
		b, err := os.ReadFile(info)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(b) {
			if v, ok := bytes.CutPrefix(line, []byte("mnt_id:")); ok && ids[string(bytes.TrimSpace(v))] {
				return true
			}
		}
	}
	return false
}

// onDevice compares the device of a link in /proc. It uses what the kernel already knows
// and sends no request to the file system (AT_STATX_DONT_SYNC, statx(2)).
func onDevice(link, dev string) bool {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, 0, &st) != nil {
		return false
	}
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor) == dev
}

// mapsDevice looks for a mapped file of the file system. /proc/PID/maps has the device in
// hexadecimal (proc_pid_maps(5)).
func mapsDevice(dir, dev string) bool {
	var major, minor uint32
	if _, err := fmt.Sscanf(dev, "%d:%d", &major, &minor); err != nil {
		return false
	}
	want := fmt.Sprintf(" %02x:%02x ", major, minor)
	b, err := os.ReadFile(dir + "/maps")
	return err == nil && bytes.Contains(b, []byte(want))
}

func processName(dir string) string {
	b, err := os.ReadFile(dir + "/comm")
	if err != nil {
		return "?"
	}
	return strings.TrimSpace(string(b))
}
