package serve

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsdir"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/overlay"
)

// CleanUp clears away what killed clients and servers left in the run directory ("":
// DefaultRunDir and PlainRunDir): dead mounts, mountpoints, plain workspaces, records,
// spill directories. It leaves live sessions alone. A run directory that does not exist is
// clean. If ctx ends first, the work continues in the background as long as the process
// lives.
func CleanUp(ctx context.Context, runDir string) error {
	if runDir != "" {
		return cleanUp(ctx, runDir)
	}
	var errs []error
	for _, dir := range host.RunDirs(os.Geteuid()) {
		errs = append(errs, cleanUp(ctx, dir))
	}
	return errors.Join(errs...)
}

func cleanUp(ctx context.Context, runDir string) error {
	if _, err := os.Lstat(runDir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	runDir, err := host.EnsureRunDir(runDir)
	if err != nil {
		return err
	}
	dead, err := host.TakeDead(ctx, runDir)
	if err != nil {
		return fmt.Errorf("clean up %s: %w", runDir, err)
	}
	done := make(chan struct{})
	go func() { // a plain workspace may have a million files
		defer close(done)
		for _, d := range dead {
			ClearMounts(d.Dir)
			d.Remove()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("clean up %s: %w", runDir, context.Cause(ctx))
	}
}

// ClearMounts detaches the dead mounts of a session whose server is gone, and removes their
// records and the mountpoints that we made.
func ClearMounts(session string) {
	for file, r := range host.Records(session) {
		if !host.IsElsewhere(r, session) {
			ClearMount(r)
		}
		os.Remove(file)
	}
}

// ClearMount detaches the recorded mount if no server answers for it, and removes the
// content of a plain workspace. A record without a device stands for every dead mount of
// ours at its path.
func ClearMount(r host.Record) {
	if r.Spill != "" {
		fs.RemoveLeftSpills(string(r.Spill))
	}
	if r.Scratch != "" {
		overlay.ClearScratch(string(r.Scratch))
	}
	path := string(r.Path)
	if path == "" {
		return
	}
	if r.Plain {
		_ = clearPlain(path, r.Made, r.Dir) // what cannot be removed stays
		return
	}
	if !host.DetachDead(r) {
		return
	}
	if id, err := host.DirIDOf(path); r.Made && err == nil && id == r.Dir {
		_ = unix.Rmdir(path) // only if it is empty
	}
}

// clearPlain removes the content of a directory that showed a workspace, and the directory
// itself if we made it. It leaves any other directory alone.
func clearPlain(dir string, made bool, id host.DirID) error {
	root, err := fsdir.OpenCanonical(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer root.Close()
	now, err := host.DirIDOfFD(root.FD(), dir)
	if err != nil {
		return err
	}
	if now != id {
		return fmt.Errorf("%s is another directory now", dir)
	}
	return clearOpen(root, dir, made)
}

// clearOpen is clearPlain for an open directory. It enters no mount.
func clearOpen(root *fsdir.Dir, path string, made bool) error {
	if p, ok := host.MountedWithin(path); ok {
		return fmt.Errorf("%s: %s: %s", path, p.Use, p.Name)
	}
	if err := root.Clear(); err != nil || !made {
		return err
	}
	return unix.Rmdir(path)
}
