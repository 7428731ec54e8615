package mount

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
)

// prepareDir finds, checks or makes the mountpoint. It gives its canonical path
// to the mount.
func (m *Mount) prepareDir(ctx context.Context) (err error) {
	m.id = m.session.newID()
	if m.opts.Dir == "" {
		return m.takeMountpoint(ctx)
	}
	if m.opts.Plain {
		m.path, err = m.checkPlainDir(m.opts.Dir)
	} else {
		m.path, err = checkMountpoint(m.opts.Dir)
	}
	return err
}

// checkPlainDir gives the canonical path of an empty directory that no workspace is
// in. Unlike a mountpoint it may be one where something is mounted, such as a volume.
func (m *Mount) checkPlainDir(dir string) (string, error) {
	real, err := canonicalDir(dir)
	if err != nil {
		return "", err
	}
	for path := range m.session.paths() {
		if within(real, path) {
			return "", &HostError{Path: real, What: "the directory is in the workspace " + path, Hint: "choose a directory outside of it"}
		}
	}
	if err := refuseOwnMount(real, "the directory"); err != nil {
		return "", err
	}
	return real, checkEmptyDir(real)
}

// checkMountpoint gives the canonical path of an empty directory that nothing is
// mounted on. A dead mount of ours that lies there is cleared away.
func checkMountpoint(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &HostError{Path: dir, What: err.Error()}
	}
	clearMount(record{Path: ipc.Path(abs)}) // before anything looks at it: a dead mount answers ENOTCONN
	real, err := canonicalDir(abs)
	if err != nil {
		return "", err
	}
	clearMount(record{Path: ipc.Path(real)})
	if err := refuseMountpoint(real); err != nil {
		return "", err
	}
	if err := refuseOwnMount(real, "the mountpoint"); err != nil {
		return "", err
	}
	return real, checkEmptyDir(real)
}

// refuseMountpoint refuses a path where something is mounted.
func refuseMountpoint(path string) error {
	if isNoMountpoint(path) {
		return nil
	}
	table, err := mountTable("self")
	if err != nil {
		return &HostError{Path: path, What: "read the mount table: " + err.Error(), Hint: "is /proc mounted?"}
	}
	if e, ok := topMountAt(table, path); ok {
		return &HostError{Path: path, What: "the mountpoint is a mount already (" + e.fsType + ")", Hint: "unmount it, or choose another directory"}
	}
	return nil
}

// canonicalDir gives the canonical path of a mountpoint that is there.
func canonicalDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &HostError{Path: dir, What: err.Error()}
	}
	real, err := filepath.EvalSymlinks(abs)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", &HostError{Path: abs, What: "the mountpoint does not exist", Hint: "make it: mkdir -p"}
	case errors.Is(err, unix.ENOTCONN):
		return "", &HostError{Path: abs, What: "a dead mount lies there", Hint: "clear it away with fusermount3 -uz or umount -l"}
	case err != nil:
		return "", &HostError{Path: abs, What: err.Error()}
	}
	return real, nil
}

func checkEmptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return &HostError{Path: dir, What: "the mountpoint is not a directory"}
	case err != nil:
		return &HostError{Path: dir, What: err.Error()}
	case len(entries) > 0:
		return notEmpty(dir)
	}
	return nil
}

func notEmpty(dir string) error {
	return &HostError{Path: dir, What: "the mountpoint is not empty", Hint: "a mount would hide what is in it; choose an empty directory"}
}

// refuseOwnStore refuses a file URL that leads into a mount of this session:
// the server would wait for itself.
func (m *Mount) refuseOwnStore() error {
	if m.url.Scheme != "file" {
		return nil
	}
	dir := filepath.Dir("/" + m.url.Key)
	for dir != "/" {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			dir = real
			break
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil // the store will say what is wrong with it
		}
		dir = filepath.Dir(dir)
	}
	for path := range m.session.paths() {
		if within(dir, path) {
			return &HostError{Path: m.url.Redacted(), What: "the store is inside the workspace that is mounted at " + path, Hint: "keep archives outside of mounts"}
		}
	}
	return nil
}

// spillDir gives the canonical path of the spill directory, "" for none. A plain
// workspace has one in any case, for content on its way to the directory.
func (m *Mount) spillDir() (string, error) {
	if m.opts.Plain {
		return checkDirOnDisk(cmp.Or(m.opts.Spill, os.TempDir()), "the spill directory")
	}
	return checkDirOnDisk(m.opts.Spill, "the spill directory")
}

// checkDirOnDisk returns the canonical path of a directory that the server is to use, ""
// for none. It must not be in a mount of ours, where the server would wait for itself.
func checkDirOnDisk(dir, what string) (string, error) {
	if dir == "" {
		return "", nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &HostError{Path: dir, What: err.Error()}
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", &HostError{Path: abs, What: what + ": " + err.Error(), Hint: "make it, or choose another one"}
	}
	return real, refuseOwnMount(real, what)
}

// checkAllowed says what an ordinary user may not ask for.
func (m *Mount) checkAllowed() error {
	o := m.opts.Owner
	if o != nil && os.Geteuid() != 0 && (o.Keep || int(o.UID) != os.Geteuid()) {
		return &HostError{Path: m.opts.Dir, What: "only root can mount with another owner", Hint: "leave the option out, or mount as root"}
	}
	if m.opts.Plain {
		return checkPlainFlags(m.opts.Dir, m.flags())
	}
	return checkFlags(m.opts.Dir, m.flags())
}

// checkPlainFlags says what a plain directory cannot give.
func checkPlainFlags(dir string, f mountFlags) error {
	for name, asked := range map[string]bool{"Suid (--suid)": f.Suid, "Dev (--dev)": f.Dev, "AllowOther (--allow-other)": f.AllowOther} {
		if asked {
			return &HostError{Path: dir, What: "a plain directory cannot give " + name, Hint: "leave the option out, or mount by FUSE"}
		}
	}
	return nil
}
