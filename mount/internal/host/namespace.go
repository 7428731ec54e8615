package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ShowAt gives the calling thread, and the program that it becomes, a mount namespace of
// its own, in which the directory mountpoint is also at the path at.
//
// Mounts made in the namespace stay in it. An unmount outside reaches the namespace if the
// host's mounts are shared (mount_namespaces(7)). If they are not, the namespace's copy of
// another workspace's mount would keep that workspace from closing, so detachOthers removes
// it.
func ShowAt(mountpoint, at string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return noNamespace(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return os.NewSyscallError("mount(MS_SLAVE)", err)
	}
	if err := detachOthers(mountpoint); err != nil {
		return err
	}
	tree, err := cloneTree(mountpoint)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	err = attachTree(tree, at)
	if errors.Is(err, unix.ENOENT) {
		if !MakesUp(at) {
			return errors.New("there is no such directory; make it first: mkdir -p " + at)
		}
		if err = rootWith(at, mountpoint); err == nil {
			err = attachTree(tree, at)
		}
	}
	if err != nil {
		return err
	}
	return dropCapability()
}

// noNamespace explains an EPERM of unshare(2).
func noNamespace(err error) error {
	if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 && !inOwnUserNamespace() {
		return errors.New("it has no right to mount: SysProcAttr of mount.Command was replaced, or given another user; " +
			"add to it instead, and let the command itself change the user (setpriv, su)")
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return fmt.Errorf("unshare(CLONE_NEWNS): %w: this host does not let ordinary users mount in user namespaces (AppArmor, SELinux, seccomp)", err)
	}
	return os.NewSyscallError("unshare(CLONE_NEWNS)", err)
}

// inOwnUserNamespace reports whether this is a user namespace as OwnNamespace makes it.
func inOwnUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	uid := fmt.Sprint(os.Geteuid())
	return err == nil && slices.Equal(strings.Fields(string(b)), []string{uid, uid, "1"})
}

// detachOthers removes the mounts of other workspaces from the namespace, except those
// whose mountpoint is in a variable of the environment: the command is meant to use them.
//
// In a user namespace the host's mounts cannot be removed one by one (MNT_LOCKED,
// mount_namespaces(7)). Those that the host's umount(2) reaches may stay; any other is an
// error, because it could cost somebody's work.
func detachOthers(mountpoint string) error {
	table, err := MountTable("self")
	if err != nil {
		return err
	}
	own, _ := TopMountAt(table, mountpoint) // a plain directory is not in it
	keep := map[string]bool{}
	for _, variable := range os.Environ() {
		_, value, _ := strings.Cut(variable, "=")
		keep[filepath.Clean(value)] = true
	}
	var stuck error
	for _, e := range slices.Backward(table) { // the last one mounted is on top
		if !e.IsOurs() || e.Dev == own.Dev || keep[e.Path] {
			continue
		}
		err := unix.Unmount(e.Path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !follows(table, e) {
			stuck = fmt.Errorf("the user namespace would hold the workspace at %s, which could then not be stored: "+
				"the mounts of this host are private; as root: mount --make-rshared /", e.Path)
		}
	}
	return stuck
}

// follows reports whether an unmount outside reaches the mount: the mount that it is on
// receives the events of a peer group.
func follows(table []MountEntry, e MountEntry) bool {
	i := slices.IndexFunc(table, func(p MountEntry) bool { return p.id == e.parent })
	return i >= 0 && table[i].slave
}

// cloneTree returns a copy of the tree of mounts at a path. The copy is attached nowhere
// yet.
func cloneTree(path string) (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return -1, &os.PathError{Op: "open_tree", Path: path, Err: err}
	}
	return fd, nil
}

// attachTree mounts a copy at a path and follows the path's symbolic links.
func attachTree(tree int, path string) error {
	err := unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
	if err != nil {
		return &os.PathError{Op: "move_mount", Path: path, Err: err}
	}
	return nil
}

// dropCapability gives up the capability that OwnNamespace has given an ordinary user, so
// that the command has none that its user lacks. Root keeps its own.
func dropCapability() error {
	if os.Geteuid() == 0 {
		return nil
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return os.NewSyscallError("capset", unix.Capset(&header, &none[0])) // a capability that is not permitted cannot be ambient
}

// MakesUp reports whether a path that does not exist can be shown to commands without
// changing the host, see ShowAt: its first element must not exist either. Directories other
// than the root are written to too often.
func MakesUp(at string) bool {
	_, err := os.Lstat(topOf(at))
	return errors.Is(err, os.ErrNotExist)
}

// topOf returns the first element of a clean absolute path: /a for /a/b.
func topOf(path string) string {
	first, _, _ := strings.Cut(path[1:], "/")
	return "/" + first
}

// MayMount reports whether commands of this process can make mounts of their own without a
// user namespace: a program that it starts also has CAP_SYS_ADMIN, which execve(2) removes
// for all but root (capabilities(7)).
func MayMount() bool { return os.Geteuid() == 0 && HasSysAdmin() }

// OwnNamespace returns the namespace that a command needs in order to mount something for
// itself: nil for root; for others a user namespace in which they keep their identity and
// have the one capability that it takes, which the shim gives up again.
func OwnNamespace() *syscall.SysProcAttr {
	if MayMount() {
		return nil
	}
	uid, gid := os.Geteuid(), os.Getegid()
	return &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN},
	}
}
