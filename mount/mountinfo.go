package mount

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// fsType is the type of our mounts in the mount table; "fuse." and the subtype,
// as mount.fuse(8) has it.
const fsType = "fuse.workdir"

// mountEntry is one line of /proc/PID/mountinfo, see proc_pid_mountinfo(5).
type mountEntry struct {
	id     int
	dev    string // "major:minor"
	path   string
	fsType string
	source string
	super  string // options of the file system
}

// isOurs tells our mounts, of whatever server, from all others.
func (e mountEntry) isOurs() bool { return e.fsType == fsType }

// uid is the user who made a FUSE mount.
func (e mountEntry) uid() (int, bool) {
	for opt := range strings.SplitSeq(e.super, ",") {
		if v, ok := strings.CutPrefix(opt, "user_id="); ok {
			uid, err := strconv.Atoi(v)
			return uid, err == nil
		}
	}
	return 0, false
}

// mountTable reads the mount table that process pid sees, in the order in which
// things were mounted. It touches none of the mounts.
func mountTable(pid string) ([]mountEntry, error) {
	data, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var table []mountEntry
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if e, ok := parseMountLine(lines.Text()); ok {
			table = append(table, e)
		}
	}
	return table, lines.Err()
}

// isNoMountpoint reports whether nothing is mounted at a path, where the kernel says so
// without its mount table (Linux 5.8), which grows with the mounts. false may mean that it
// does not say. The file system is asked nothing.
func isNoMountpoint(path string) bool {
	st, err := mountStatx(path)
	return err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0
}

func mountStatx(path string) (st unix.Statx_t, err error) {
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_STATX_DONT_SYNC
	err = unix.Statx(unix.AT_FDCWD, path, flags, 0, &st)
	return st, err
}

// isOnFUSE reports whether a path is on a FUSE file system, or may be: that of others
// does not answer everybody.
func isOnFUSE(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) != nil || st.Type == unix.FUSE_SUPER_MAGIC
}

// deviceAt gives the device number ("major:minor") of what is mounted at dir, on top;
// "" where dir is no mountpoint, or that cannot be told. It asks the file system
// nothing (AT_STATX_DONT_SYNC, see statx(2)), and takes no longer where there are many
// mounts.
func deviceAt(dir string) string {
	st, err := mountStatx(dir)
	if err != nil || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor)
}

// parseMountLine reads "36 35 98:0 /root /path opts tag:1 - type source super".
func parseMountLine(line string) (mountEntry, bool) {
	left, right, ok := strings.Cut(line, " - ")
	if !ok {
		return mountEntry{}, false
	}
	l, r := strings.Fields(left), strings.Split(right, " ")
	if len(l) < 6 || len(r) < 3 {
		return mountEntry{}, false
	}
	id, err := strconv.Atoi(l[0])
	if err != nil {
		return mountEntry{}, false
	}
	return mountEntry{
		id: id, dev: l[2], path: unescapeMount(l[4]),
		fsType: r[0], source: unescapeMount(r[1]), super: r[len(r)-1],
	}, true
}

// unescapeMount undoes the octal escapes of the mount table (space, tab,
// newline, backslash).
func unescapeMount(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b = append(b, byte(v))
				i += 3
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// topMountAt gives the mount that a path shows, if the path is a mountpoint:
// the last one that was mounted there.
func topMountAt(table []mountEntry, path string) (mountEntry, bool) {
	for i := len(table) - 1; i >= 0; i-- {
		if table[i].path == path {
			return table[i], true
		}
	}
	return mountEntry{}, false
}

// mountOf gives the mount that a clean absolute path lies in.
func mountOf(table []mountEntry, path string) (mountEntry, bool) {
	best, found := mountEntry{}, false
	for _, e := range table {
		if within(path, e.path) && (!found || len(e.path) >= len(best.path)) {
			best, found = e, true
		}
	}
	return best, found
}

// within reports whether a clean absolute path is dir or beneath it.
func within(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}
