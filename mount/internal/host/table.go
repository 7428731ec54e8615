package host

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// How our mounts look in the mount table: a FUSE mount has a type of its own, "fuse." and
// the subtype, as mount.fuse(8) describes; an overlay has a source that begins with
// OverlaySource.
const (
	Subtype       = "workdir"
	fsType        = "fuse." + Subtype
	overlayType   = "overlay"
	OverlaySource = "workdir/"
)

// MountEntry is one line of /proc/PID/mountinfo, see proc_pid_mountinfo(5).
type MountEntry struct {
	id     int
	parent int    // the mount that it is on
	slave  bool   // receives the events of a peer group, see mount_namespaces(7)
	Dev    string // "major:minor"
	Path   string
	fsType string
	Source string
	super  string // options of the file system
}

// IsOurs reports whether the mount is one of ours, of any server.
func (e MountEntry) IsOurs() bool { return e.fsType == fsType || e.isOverlay() }

// isOverlay reports whether the mount is one of our overlays.
func (e MountEntry) isOverlay() bool {
	return e.fsType == overlayType && strings.HasPrefix(e.Source, OverlaySource)
}

// UID returns the user who made a mount of ours.
func (e MountEntry) UID() (int, bool) {
	if e.isOverlay() {
		return 0, true
	}
	for opt := range strings.SplitSeq(e.super, ",") {
		if v, ok := strings.CutPrefix(opt, "user_id="); ok {
			uid, err := strconv.Atoi(v)
			return uid, err == nil
		}
	}
	return 0, false
}

// MountTable reads the mount table of process pid, in the order in which things were
// mounted. It touches none of the mounts.
func MountTable(pid string) ([]MountEntry, error) {
	data, err := os.ReadFile("/proc/" + pid + "/mountinfo")
	if err != nil {
		return nil, err
	}
	var table []MountEntry
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if e, ok := parseMountLine(lines.Text()); ok {
			table = append(table, e)
		}
	}
	return table, lines.Err()
}

// IsNoMountpoint reports whether the kernel knows, without reading its mount table, that
// nothing is mounted at a path (Linux 5.8); the table grows with the mounts. false may mean
// that it does not know. The file system is not asked.
func IsNoMountpoint(path string) bool {
	st, err := mountStatx(path)
	return err == nil && st.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0
}

func mountStatx(path string) (st unix.Statx_t, err error) {
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT | unix.AT_STATX_DONT_SYNC
	err = unix.Statx(unix.AT_FDCWD, path, flags, 0, &st)
	return st, err
}

// MayBeOurs reports whether a path is on a file system of a kind that our mounts have, so
// that it may be ours: other FUSE file systems do not answer every user.
func MayBeOurs(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) != nil || st.Type == unix.FUSE_SUPER_MAGIC || st.Type == unix.OVERLAYFS_SUPER_MAGIC
}

// DeviceAt returns the device number ("major:minor") of the mount at dir, the top one; ""
// if dir is not a mountpoint, or if that is not known. It does not ask the file system
// (AT_STATX_DONT_SYNC, see statx(2)), and takes no longer with many mounts.
func DeviceAt(dir string) string {
	st, err := mountStatx(dir)
	if err != nil || st.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor)
}

// parseMountLine reads "36 35 98:0 /root /path opts tag:1 - type source super".
func parseMountLine(line string) (MountEntry, bool) {
	left, right, ok := strings.Cut(line, " - ")
	if !ok {
		return MountEntry{}, false
	}
	l, r := strings.Fields(left), strings.Split(right, " ")
	if len(l) < 6 || len(r) < 3 {
		return MountEntry{}, false
	}
	id, err := strconv.Atoi(l[0])
	parent, parentErr := strconv.Atoi(l[1])
	if err != nil || parentErr != nil {
		return MountEntry{}, false
	}
	return MountEntry{
		id: id, parent: parent, slave: slices.ContainsFunc(l[6:], isMaster), Dev: l[2], Path: unescapeMount(l[4]),
		fsType: r[0], Source: unescapeMount(r[1]), super: r[len(r)-1],
	}, true
}

// isMaster reports whether an optional field names the peer group of a slave.
func isMaster(field string) bool { return strings.HasPrefix(field, "master:") }

// unescapeMount decodes the octal escapes of the mount table (space, tab, newline,
// backslash).
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

// TopMountAt returns the mount that is visible at a path, if the path is a mountpoint: the
// last one that was mounted there.
func TopMountAt(table []MountEntry, path string) (MountEntry, bool) {
	for i := len(table) - 1; i >= 0; i-- {
		if table[i].Path == path {
			return table[i], true
		}
	}
	return MountEntry{}, false
}

// MountOf returns the mount that contains a clean absolute path.
func MountOf(table []MountEntry, path string) (MountEntry, bool) {
	best, found := MountEntry{}, false
	for _, e := range table {
		if Within(path, e.Path) && (!found || len(e.Path) >= len(best.Path)) {
			best, found = e, true
		}
	}
	return best, found
}

// Within reports whether a clean absolute path is dir or beneath it.
func Within(path, dir string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}
