package host

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// MountedWithin looks for a file system mounted in a directory.
func MountedWithin(dir string) (Process, bool) {
	table, err := MountTable("self")
	if err != nil {
		return Process{}, false
	}
	for _, e := range table {
		if e.Path != dir && Within(e.Path, dir) {
			return Process{Name: e.Path, Use: "something is mounted in it"}, true
		}
	}
	return Process{}, false
}

// FileNumber identifies an open file as the kernel does.
type FileNumber struct {
	Major, Minor uint32
	Ino          uint64
}

// UsersOfDir finds the processes, this one included, that use a plain directory: by
// descriptor, working directory, root or mapping of one of its files. It recognizes a file
// by its number in files, or by its path if the process has the same view of paths as this
// one. The number finds processes in other mount namespaces, the path finds removed files.
// Only root sees processes of other users. own is our own descriptor of the directory,
// which does not count.
func UsersOfDir(dir string, own int, files func(FileNumber) bool) []Process {
	ownNS, _ := os.Readlink("/proc/self/ns/mnt")
	return processesThat(func(proc string, pid int) string {
		ns, err := os.Readlink(proc + "/ns/mnt")
		u := dirUser{proc: proc, dir: dir, files: files, paths: err == nil && ns == ownNS}
		if pid == os.Getpid() {
			u.own = proc + "/fd/" + strconv.Itoa(own)
		}
		return u.use()
	})
}

// dirUser is a process that may use a directory.
type dirUser struct {
	proc  string // its directory in /proc
	dir   string
	files func(FileNumber) bool
	paths bool   // its paths mean what ours mean
	own   string // the link of a descriptor that does not count; "" for none
}

// use says how the process uses the directory, "" if it does not.
func (u *dirUser) use() string {
	fds, _ := filepath.Glob(u.proc + "/fd/*") // fails only on a bad pattern
	switch {
	case slices.ContainsFunc(fds, u.leads):
		return "descriptor"
	case u.leads(u.proc + "/cwd"):
		return "working directory"
	case u.leads(u.proc + "/root"):
		return "root"
	case u.maps():
		return "mapping"
	}
	return ""
}

// leads reports whether a link in /proc leads into the directory. It uses what the kernel
// already knows and sends no request to a file system (AT_STATX_DONT_SYNC, statx(2)).
func (u *dirUser) leads(link string) bool {
	path, err := os.Readlink(link)
	if err != nil || link == u.own || !strings.HasPrefix(path, "/") {
		return false // such as a socket
	}
	if u.paths && Within(path, u.dir) {
		return true
	}
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, link, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st) != nil {
		return false
	}
	return u.files(FileNumber{Major: st.Dev_major, Minor: st.Dev_minor, Ino: st.Ino})
}

// maps looks for a mapped file of the directory by its path. The device number in
// /proc/PID/maps (proc_pid_maps(5)) is not always the one of stat(2).
func (u *dirUser) maps() bool {
	if !u.paths {
		return false
	}
	b, err := os.ReadFile(u.proc + "/maps")
	return err == nil && bytes.Contains(b, []byte(" "+u.dir+"/"))
}
