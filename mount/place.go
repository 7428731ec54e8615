package mount

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/serve"
)

// prepareDir finds, checks or makes the mountpoint, and sets the mount's path to its
// canonical path.
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

// checkPlainDir returns the canonical path of an empty directory that no workspace uses.
// Unlike a mountpoint it may be a mounted file system, such as a volume.
func (m *Mount) checkPlainDir(dir string) (string, error) {
	real, err := host.CanonicalDir(dir)
	if err != nil {
		return "", err
	}
	for path := range m.session.paths() {
		if host.Within(real, path) {
			return "", &HostError{Path: real, What: "the directory is in the workspace " + path, Hint: "choose a directory outside of it"}
		}
	}
	if err := host.RefuseOwnMount(real, "the directory"); err != nil {
		return "", err
	}
	return real, host.CheckEmptyDir(real)
}

// checkMountpoint returns the canonical path of an empty directory on which nothing is
// mounted. A dead mount of ours there is cleared away.
func checkMountpoint(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &HostError{Path: dir, What: err.Error()}
	}
	serve.ClearMount(host.Record{Path: ipc.Path(abs)}) // first of all: a dead mount answers everything with ENOTCONN
	real, err := host.CanonicalDir(abs)
	if err != nil {
		return "", err
	}
	serve.ClearMount(host.Record{Path: ipc.Path(real)})
	if err := host.RefuseMountpoint(real); err != nil {
		return "", err
	}
	if err := host.RefuseOwnMount(real, "the mountpoint"); err != nil {
		return "", err
	}
	return real, host.CheckEmptyDir(real)
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
			return nil // the store reports what is wrong with it
		}
		dir = filepath.Dir(dir)
	}
	for path := range m.session.paths() {
		if host.Within(dir, path) {
			return &HostError{Path: m.url.Redacted(), What: "the store is inside the workspace that is mounted at " + path, Hint: "keep archives outside of mounts"}
		}
	}
	return nil
}

// spillDir returns the canonical path of the spill directory, "" for none. A plain
// workspace always has one, for content on its way to the directory.
func (m *Mount) spillDir() (string, error) {
	if m.opts.Plain {
		return host.CheckDirOnDisk(cmp.Or(m.opts.Spill, os.TempDir()), "the spill directory")
	}
	return host.CheckDirOnDisk(m.opts.Spill, "the spill directory")
}

// checkAllowed refuses what an ordinary user may not ask for.
func (m *Mount) checkAllowed() error {
	o := m.opts.Owner
	if o != nil && os.Geteuid() != 0 && (o.Keep || int(o.UID) != os.Geteuid()) {
		return &HostError{Path: m.opts.Dir, What: "only root can mount with another owner", Hint: "leave the option out, or mount as root"}
	}
	if m.opts.Plain {
		return checkPlainFlags(m.opts.Dir, m.flags())
	}
	return host.CheckFlags(m.opts.Dir, m.flags())
}

// checkPlainFlags refuses what a plain directory cannot have.
func checkPlainFlags(dir string, f host.Flags) error {
	for name, asked := range map[string]bool{"Suid (--suid)": f.Suid, "Dev (--dev)": f.Dev, "AllowOther (--allow-other)": f.AllowOther} {
		if asked {
			return &HostError{Path: dir, What: "a plain directory cannot give " + name, Hint: "leave the option out, or mount by FUSE"}
		}
	}
	return nil
}
