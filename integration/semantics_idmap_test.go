package integration

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// idMapped maps the ids of a detached copy of the mount that dir is in.
func idMapped(t *testing.T, dir string) string {
	// The initial user namespace is refused on every file system, so a child has one.
	child := exec.Command("cat")
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 100_000, Size: 1000}}
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids}
	stdin, err := child.StdinPipe()
	must(t, err)
	must(t, child.Start())
	defer func() {
		_ = stdin.Close() // ends it
		must(t, child.Wait())
	}()
	userns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", child.Process.Pid))
	must(t, err)
	defer userns.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	must(t, err)
	defer unix.Close(tree)
	return outcome(unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(userns.Fd()),
	}))
}
