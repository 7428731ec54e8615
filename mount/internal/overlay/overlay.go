package overlay

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Unsupported says why an overlay cannot be made.
type Unsupported struct{ Why string }

func (e *Unsupported) Error() string { return "no overlay: " + e.Why }

// Names in Config.Home.
const (
	UpperName = "upper"
	WorkName  = "work"
)

// Config describes an overlay. The descriptors stay the caller's.
type Config struct {
	Source string // its name in the mount table
	Lower  int    // a mount by [Lower]
	Home   int    // a directory with two empty ones, UpperName and WorkName. UpperName is the root directory of the overlay: its mode, owner and times show
	// Scratch is a path that does not exist yet, in a directory that is the caller's alone.
	// Some kernels need the layers attached below it for a moment. ClearScratch removes
	// what a killed process leaves there.
	Scratch string
	// Metacopy lets a change of attributes leave the content in the lower layer. In return,
	// files whose paths have more than MaxRedirect bytes can be neither moved nor linked.
	Metacopy bool
	Volatile bool // fsync(2) and unmounting do not wait for the disk of Home
	Suid     bool // set-user-ID bits take effect
	Dev      bool // device nodes take effect
	// Without names features that count as missing, so that tests can take the code paths
	// of other kernels: "overlay", "descriptors", "detached", "user xattrs".
	Without []string
}

// MaxRedirect is the longest path of a directory of the lower layer that can be moved, in
// bytes and without a slash in front (fs/overlayfs/dir.c, redirect_max).
const MaxRedirect = 255

// Overlay is an overlay that is attached nowhere yet.
type Overlay struct {
	fd     int
	device string
}

// Make makes an overlay. The overlay has no index of hard links, for which the kernel would
// have to open file handles of the lower layer: a file with several names there becomes
// several files at its first change. A changed file gets the inode number of its copy in
// the upper layer once the kernel has forgotten it. The error is an *Unsupported.
func Make(cfg *Config) (*Overlay, error) {
	if err := cfg.checkUpper(); err != nil {
		return nil, err
	}
	empty, err := newEmpty()
	if err != nil {
		return nil, unsupported("make an empty layer", err)
	}
	defer unix.Close(empty)
	layers := layers{lower: cfg.Lower, empty: empty, home: cfg.Home}
	err = cfg.missing("overlay")
	for _, form := range forms {
		if cfg.missing(form.needs...) != nil {
			continue
		}
		var o *Overlay
		if o, err = form.make(cfg, layers); err == nil {
			return o, nil
		}
	}
	return nil, unsupported("mount it", err)
}

// missing returns an error if one of the features counts as missing.
func (cfg *Config) missing(features ...string) error {
	for _, name := range features {
		if slices.Contains(cfg.Without, name) {
			return fmt.Errorf("%s: %w", name, unix.ENODEV)
		}
	}
	return nil
}

// checkUpper checks that the file system of the upper layer takes user.* extended
// attributes (tmpfs does from Linux 6.6 on); otherwise tools could not set them in the
// overlay.
func (cfg *Config) checkUpper() error {
	const name, what = "user.workdir", "the file system for what is written has no extended attributes of users"
	if err := cfg.missing("user xattrs"); err != nil {
		return unsupported(what, err)
	}
	fd, err := unix.Openat(cfg.Home, UpperName, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return unsupported("open the upper layer", err)
	}
	defer unix.Close(fd)
	if err = unix.Fsetxattr(fd, name, nil, 0); err == nil {
		err = unix.Fremovexattr(fd, name)
	}
	if err != nil {
		return unsupported(what, err)
	}
	return nil
}

func unsupported(what string, err error) error {
	var u *Unsupported
	if errors.As(err, &u) {
		return u
	}
	return &Unsupported{Why: what + ": " + err.Error()}
}

// finish makes the overlay that ctx, which has its layers, describes.
func (cfg *Config) finish(ctx fsContext) (*Overlay, error) {
	onOff := map[bool]string{true: "on", false: "off"}
	for _, o := range [][2]string{
		{"source", cfg.Source}, {"redirect_dir", "on"}, {"xino", "on"}, {"metacopy", onOff[cfg.Metacopy]},
		{"index", "off"},
	} {
		if err := ctx.set(o[0], o[1]); err != nil {
			return nil, err
		}
	}
	if cfg.Volatile {
		if err := ctx.flag("volatile"); err != nil {
			return nil, err
		}
	}
	fd, err := ctx.mount(cfg.attributes())
	if err != nil {
		return nil, err
	}
	o := &Overlay{fd: fd}
	o.device, err = deviceOf(fd)
	if err != nil {
		o.Close()
		return nil, err
	}
	return o, nil
}

func (cfg *Config) attributes() int {
	attr := 0
	if !cfg.Suid {
		attr |= unix.MOUNT_ATTR_NOSUID
	}
	if !cfg.Dev {
		attr |= unix.MOUNT_ATTR_NODEV
	}
	return attr
}

// deviceOf returns the device number of a mount. The kernel knows it and asks no layer.
func deviceOf(fd int) (string, error) {
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, 0, &st); err != nil {
		return "", fmt.Errorf("statx: %w", err)
	}
	return fmt.Sprintf("%d:%d", st.Dev_major, st.Dev_minor), nil
}

// Device returns the overlay's device number, "major:minor".
func (o *Overlay) Device() string { return o.device }

// Attach attaches the overlay at a directory and closes it. From then on umount(2) ends it.
func (o *Overlay) Attach(dir string) error {
	defer o.Close()
	if err := attach(o.fd, dir, 0); err != nil {
		return unsupported("attach it at "+dir, err)
	}
	return nil
}

// Close releases the overlay, which ends unless it was attached.
func (o *Overlay) Close() {
	if o.fd >= 0 {
		_ = unix.Close(o.fd) // the descriptor of a mount: nothing was written
		o.fd = -1
	}
}

// ReadOnly makes the mount at dir read-only for good. EBUSY while a file is open for
// writing.
func ReadOnly(dir string) error {
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	return unix.MountSetattr(unix.AT_FDCWD, dir, unix.AT_SYMLINK_NOFOLLOW, &attr)
}
