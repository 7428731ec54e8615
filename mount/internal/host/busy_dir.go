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

// MountedWithin looks for a file system that somebody has mounted in a directory.
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

// FileNumber is how the kernel names a file that somebody has open.
type FileNumber struct {
	Major, Minor uint32
	Ino          uint64
}

// UsersOfDir finds the processes, ours too, that use a plain directory: by
// descriptor, working directory, root or mapping of one of its files, of which
// files knows the numbers, or by path where the process sees the paths that we see. The
// former finds processes in other mount namespaces, the latter removed files.
// Processes of other users are found only by root. own is the descriptor by which we
// hold the directory ourselves, which is no use.
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
	paths bool   // its paths mean what ours do
	own   string // the link of a descriptor that is no use; "" for none
}

// use says how the process uses the directory, "" if it does not.
func (u *dirUser) use() string {
	fds, _ := filepath.Glob(u.proc + "/fd/*") // fails on a bad pattern only
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

// leads reports whether a link of /proc leads into the directory. It asks for what
// the kernel knows already, and sends no request to a file system
// (AT_STATX_DONT_SYNC, statx(2)).
func (u *dirUser) leads(link string) bool {
	path, err := os.Readlink(link)
	if err != nil || link == u.own || !strings.HasPrefix(path, "/") {
		return false // a socket, for one
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

// maps looks for a mapped file of the directory by its path, see proc_pid_maps(5):
// the number of its device there is not always the one that stat(2) gives.
func (u *dirUser) maps() bool {
	if !u.paths {
		return false
	}
	b, err := os.ReadFile(u.proc + "/maps")
	return err == nil && bytes.Contains(b, []byte(" "+u.dir+"/"))
}
