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

// checkMountpoint gives the canonical path of an empty directory that nothing is
// mounted on. A dead mount of ours that lies there is cleared away.
func checkMountpoint(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &HostError{Path: dir, What: err.Error()}
	}
	serve.ClearMount(host.Record{Path: ipc.Path(abs)}) // before anything looks at it: a dead mount answers ENOTCONN
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
			return nil // the store will say what is wrong with it
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

// spillDir gives the canonical path of the spill directory, "" for none. A plain
// workspace has one in any case, for content on its way to the directory.
func (m *Mount) spillDir() (string, error) {
	if m.opts.Plain {
		return host.CheckDirOnDisk(cmp.Or(m.opts.Spill, os.TempDir()), "the spill directory")
	}
	return host.CheckDirOnDisk(m.opts.Spill, "the spill directory")
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
	return host.CheckFlags(m.opts.Dir, m.flags())
}

// checkPlainFlags says what a plain directory cannot give.
func checkPlainFlags(dir string, f host.Flags) error {
	for name, asked := range map[string]bool{"Suid (--suid)": f.Suid, "Dev (--dev)": f.Dev, "AllowOther (--allow-other)": f.AllowOther} {
		if asked {
			return &HostError{Path: dir, What: "a plain directory cannot give " + name, Hint: "leave the option out, or mount by FUSE"}
		}
	}
	return nil
}
