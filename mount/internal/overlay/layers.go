package overlay

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// layers are the layers of an overlay, as descriptors.
type layers struct {
	lower int // a FUSE mount
	empty int // an empty mount
	home  int // the directory that contains upper and work
}

// form is one way to name layers to the kernel.
type form struct {
	needs []string // names for Config.Without
	make  func(*Config, layers) (*Overlay, error)
}

// forms are the ways to name layers, the newest first. Overlays accept descriptors from
// Linux 6.13 on, and layers that are attached nowhere from 6.15 on.
var forms = []form{
	{[]string{"overlay", "detached", "descriptors"}, byDescriptor},
	{[]string{"overlay", "detached"}, byPath},
	{[]string{"overlay"}, attached},
}

// byDescriptor passes the layers as descriptors.
func byDescriptor(cfg *Config, l layers) (*Overlay, error) {
	ctx, err := newContext("overlay")
	if err != nil {
		return nil, err
	}
	defer ctx.close()
	upper, err := openDir(l.home, UpperName)
	if err != nil {
		return nil, err
	}
	defer unix.Close(upper)
	work, err := openDir(l.home, WorkName)
	if err != nil {
		return nil, err
	}
	defer unix.Close(work)
	for _, o := range []struct {
		name string
		fd   int
	}{{"lowerdir+", l.lower}, {"lowerdir+", l.empty}, {"upperdir", upper}, {"workdir", work}} {
		if err := unix.FsconfigSetFd(int(ctx), o.name, o.fd); err != nil {
			return nil, ctx.explain(o.name, err)
		}
	}
	return cfg.finish(ctx)
}

func openDir(dir int, name string) (int, error) {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	return fd, nil
}

// byPath names the layers by the paths of their descriptors, which contain no character
// that is special in lowerdir.
func byPath(cfg *Config, l layers) (*Overlay, error) {
	ctx, err := newContext("overlay")
	if err != nil {
		return nil, err
	}
	defer ctx.close()
	path := func(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
	for _, o := range [][2]string{
		{"lowerdir", path(l.lower) + ":" + path(l.empty)},
		{"upperdir", path(l.home) + "/" + UpperName},
		{"workdir", path(l.home) + "/" + WorkName},
	} {
		if err := ctx.set(o[0], o[1]); err != nil {
			return nil, err
		}
	}
	return cfg.finish(ctx)
}

// attached is byPath with layers that are attached below Config.Scratch until the overlay
// has its own copies of them.
func attached(cfg *Config, l layers) (*Overlay, error) {
	if err := os.Mkdir(cfg.Scratch, 0o700); err != nil {
		return nil, err
	}
	defer ClearScratch(cfg.Scratch)
	home, err := unix.OpenTree(l.home, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return nil, fmt.Errorf("copy the mount of the upper layer: %w", err)
	}
	defer unix.Close(home)
	for name, fd := range map[string]int{"lower": l.lower, "empty": l.empty, "home": home} {
		at := filepath.Join(cfg.Scratch, name)
		if err := os.Mkdir(at, 0o700); err != nil {
			return nil, err
		}
		if err := attach(fd, at, 0); err != nil {
			return nil, fmt.Errorf("attach a layer: %w", err)
		}
	}
	return byPath(cfg, layers{lower: l.lower, empty: l.empty, home: home})
}

// ClearScratch removes anything left at a path that was a Config.Scratch.
func ClearScratch(dir string) {
	for _, name := range []string{"lower", "empty", "home"} {
		at := filepath.Join(dir, name)
		_ = unix.Unmount(at, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) // it may not exist
		_ = unix.Rmdir(at)                                         // likewise
	}
	_ = unix.Rmdir(dir)
}

// newEmpty makes an empty layer, which does two things for the one above it:
//
//   - With three layers on file systems of their own the inode numbers of the second get
//     the bit 2^62, with two they would get 2^63 (fs/overlayfs/util.c, ovl_xino_bits).
//   - A ramfs has no UUID, as FUSE has none, and of lower layers that share one the kernel
//     opens no file handles (fs/overlayfs/super.c, ovl_lower_uuid_ok). It still notes them
//     in the upper layer. Otherwise it would open that of a changed file once it has
//     forgotten the lower one. FUSE would return an entry that is not valid, and the file
//     would be missing from listings, or ESTALE (Linux 6.18).
func newEmpty() (int, error) {
	ctx, err := newContext("ramfs")
	if err != nil {
		return -1, err
	}
	defer ctx.close()
	return ctx.mount(unix.MOUNT_ATTR_RDONLY)
}

// Lower mounts the FUSE file system behind an open /dev/fuse, read-only and attached
// nowhere. maxRead is in bytes. When it returns, the kernel has sent its INIT. Closing the
// descriptor ends the file system unless an overlay uses it.
func Lower(fuse int, source, subtype string, maxRead int) (int, error) {
	ctx, err := newContext("fuse")
	if err != nil {
		return -1, unsupported("mount FUSE", err)
	}
	defer ctx.close()
	for _, o := range [][2]string{
		{"source", source}, {"subtype", subtype}, {"fd", strconv.Itoa(fuse)}, {"rootmode", "40000"},
		{"user_id", strconv.Itoa(os.Geteuid())}, {"group_id", strconv.Itoa(os.Getegid())}, {"max_read", strconv.Itoa(maxRead)},
	} {
		if err := ctx.set(o[0], o[1]); err != nil {
			return -1, unsupported("mount FUSE", err)
		}
	}
	for _, name := range []string{"default_permissions", "ro"} {
		if err := ctx.flag(name); err != nil {
			return -1, unsupported("mount FUSE", err)
		}
	}
	fd, err := ctx.mount(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, unsupported("mount FUSE", err)
	}
	return fd, nil
}

// fsContext is a file system that is being configured, see fsopen(2).
type fsContext int

func newContext(fsType string) (fsContext, error) {
	fd, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("fsopen %s: %w", fsType, err)
	}
	return fsContext(fd), nil
}

func (c fsContext) close() { _ = unix.Close(int(c)) } // nothing was written

func (c fsContext) set(name, value string) error {
	return c.explain(name, unix.FsconfigSetString(int(c), name, value))
}

func (c fsContext) flag(name string) error {
	return c.explain(name, unix.FsconfigSetFlag(int(c), name))
}

// mount makes the file system and a mount of it, attached nowhere.
func (c fsContext) mount(attr int) (int, error) {
	if err := unix.FsconfigCreate(int(c)); err != nil {
		return -1, c.explain("create", err)
	}
	fd, err := unix.Fsmount(int(c), unix.FSMOUNT_CLOEXEC, attr)
	return fd, c.explain("fsmount", err)
}

// explain adds the kernel's own messages to an error: one a line, each beginning with a
// letter for its level.
func (c fsContext) explain(what string, err error) error {
	if err == nil {
		return nil
	}
	buf := make([]byte, 1024)
	n, readErr := unix.Read(int(c), buf)
	if readErr != nil || n < 3 {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %s", what, err, strings.TrimSpace(string(buf[2:n])))
}
