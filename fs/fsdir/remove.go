package fsdir

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// Clear empties the directory. It follows no symbolic link, enters no mount, and opens
// directories that their owner may not change. It removes as much as it can and returns the
// first error.
func (d *Dir) Clear() error {
	c := &clearing{descent: newDescent(d.fd)}
	defer c.close()
	if err := c.run(); err != nil {
		return fmt.Errorf("clear %s: %w", d.path, err)
	}
	return nil
}

// clearing removes the content of a directory with one open descriptor and without
// recursion, because the directory may be deeper than either allows.
type clearing struct {
	*descent
	mount mountID
	open  []clearedDir // from the root to where the walk is
	err   error        // the first error
}

type clearedDir struct {
	name  string   // in its parent
	names []string // still to be removed
}

// mountID identifies a mount: every path that leaves it crosses a mountpoint.
type mountID struct {
	major, minor uint32
	id           uint64 // 0 before Linux 5.8
}

func mountOf(fd int) (mountID, error) {
	var st unix.Statx_t
	err := eintr.Retry(func() error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &st) })
	id := mountID{major: st.Dev_major, minor: st.Dev_minor}
	if st.Mask&unix.STATX_MNT_ID != 0 {
		id.id = st.Mnt_id
	}
	return id, err
}

func (c *clearing) run() (err error) {
	if c.mount, err = mountOf(c.at); err != nil {
		return err
	}
	if err := c.list(""); err != nil {
		return err
	}
	for {
		last := &c.open[len(c.open)-1]
		if n := len(last.names); n > 0 {
			name := last.names[n-1]
			last.names = last.names[:n-1]
			c.note(name, c.remove(name))
			continue
		}
		if len(c.open) == 1 {
			return c.err
		}
		name := last.name
		c.open = c.open[:len(c.open)-1]
		if err := c.leave(unix.O_PATH); err != nil {
			return errors.Join(c.err, err)
		}
		c.note(name, eintr.Retry(func() error { return unix.Unlinkat(c.at, name, unix.AT_REMOVEDIR) }))
	}
}

func (c *clearing) note(name string, err error) {
	if c.err == nil {
		c.err = named(name, err)
	}
}

// remove removes one name, or goes into it if it is a directory.
func (c *clearing) remove(name string) error {
	err := eintr.Retry(func() error { return unix.Unlinkat(c.at, name, 0) })
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if c.enter(name, unix.O_PATH) != nil {
		return err // it is not a directory
	}
	if err := c.list(name); err != nil {
		c.open = append(c.open, clearedDir{name: name}) // it may not be empty
		return err
	}
	return nil
}

// list records the names in the directory where the walk is.
func (c *clearing) list(name string) error {
	if mount, err := mountOf(c.at); err != nil || mount != c.mount {
		return errors.Join(unix.EXDEV, err)
	}
	var st unix.Stat_t
	if err := eintr.Retry(func() error { return unix.Fstat(c.at, &st) }); err != nil {
		return err
	}
	const all = unix.S_IRWXU
	if st.Mode&all != all {
		_ = unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", c.at), all) // if it fails, the removal reports it
	}
	names, err := namesOf(c.at)
	if err == nil {
		c.open = append(c.open, clearedDir{name, names})
	}
	return err
}
