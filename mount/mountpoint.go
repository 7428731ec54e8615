package mount

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/serve"
	"github.com/workdir/workdir/store"
)

// A mount without a directory of its own gets RUN/mnt/NAME-DIGEST, which follows from its
// URL, so that paths that tools have noted in a workspace are still right at its next
// mount. Only one mount can have it at a time; others get NAME-DIGEST.2 and so on.
//
// A mountpoint belongs to the live session that has a record of it. Mountpoints are taken
// under the lock of the run directory and given back without it: first the directory is
// removed, then the record, so that a process that takes the name meanwhile does not lose
// it.

const (
	maxMountpointName = 40 // bytes of NAME
	digestBytes       = 5  // of DIGEST, in hexadecimal
	maxMountpoints    = 1 << 16
)

// endingPatience limits the wait for a session whose client was killed: its server is about
// to detach its mounts.
var endingPatience = 2 * time.Second // another one in a test

// mountpointName returns a readable name for the workspace and a digest that makes it
// unique; it is also the source in the mount table. It contains nothing of the URL's
// options, and no character that is special to a shell, in PATH, or in the first line of a
// script.
func mountpointName(u store.URL) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, u.Key[strings.LastIndexByte(u.Key, '/')+1:])
	name = strings.TrimLeft(name, ".-")
	sum := sha256.Sum256([]byte(u.Identity()))
	return name[:min(len(name), maxMountpointName)] + "-" + hex.EncodeToString(sum[:digestBytes])
}

// takeMountpoint makes the mountpoint for a mount without a directory of its own, and a
// record of it. If the usual one is in use it logs that, or waits for it with Options.Wait.
func (m *Mount) takeMountpoint(ctx context.Context) error {
	name := mountpointName(m.url)
	usual := host.MountpointAt(m.session.runDir, name, 1)
	m.session.awaitEnding(ctx, usual)
	path, err := m.waitForMountpoint(ctx, name, usual)
	if errors.Is(err, ErrBusy) {
		return err
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return &HostError{Path: usual, What: "make the mountpoint: " + err.Error()}
	}
	m.path, m.made = path, true
	if path != usual {
		level := slog.LevelWarn
		if m.opts.ReadOnly { // many may be mounted at once
			level = slog.LevelInfo
		}
		m.logger().Log(ctx, level, "the usual mountpoint of the workspace is in use, so this mount has another path", "usual", usual, "path", path)
	}
	return nil
}

const (
	mountpointRetry = 50 * time.Millisecond // between two looks at a mountpoint that is waited for
	mountpointNote  = time.Second           // after which the log says what is waited for
)

// waitForMountpoint makes the mountpoint: the usual one, which is waited for as Options.Wait
// says, or without Wait the first that nobody has.
func (m *Mount) waitForMountpoint(ctx context.Context, name, usual string) (string, error) {
	if m.opts.Wait <= 0 {
		return m.session.takeMountpoint(ctx, m.id, name, maxMountpoints)
	}
	began, noted := time.Now(), false
	for {
		path, err := m.session.takeMountpoint(ctx, m.id, name, 2)
		if !errors.Is(err, errMountpointsInUse) {
			return path, err
		}
		waited := time.Since(began)
		user := host.ClientOf(host.SessionOf(m.session.runDir, usual))
		if waited >= m.opts.Wait {
			return "", fmt.Errorf("open %s: %w after %v: its mountpoint %s belongs to process %d", m.url.Redacted(), ErrBusy, m.opts.Wait, usual, user)
		}
		if waited >= mountpointNote && !noted {
			noted = true
			m.logger().Warn("the workspace is in use on this host, and is waited for", "mountpoint", usual, "pid", user)
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(min(mountpointRetry, m.opts.Wait-waited)):
		}
		m.session.awaitEnding(ctx, usual)
	}
}

// errMountpointsInUse means that others have all mountpoints of a name that may be taken.
var errMountpointsInUse = errors.New("all mountpoints of that name are in use")

// takeMountpoint makes the first free directory of that name with a number below end.
// errMountpointsInUse: all of them are in use.
func (s *session) takeMountpoint(ctx context.Context, id uint64, name string, end int) (string, error) {
	select { // cheaper than the wait for the file's lock
	case s.taking <- struct{}{}:
		defer func() { <-s.taking }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	guard, err := host.LockRunDir(ctx, s.runDir)
	if err != nil {
		return "", err
	}
	defer guard.Close()
	err = os.Mkdir(filepath.Join(s.runDir, host.MountpointsName), 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	taken := s.paths() // at first only ours
	for n, all := 1, false; n < end; n++ {
		path := host.MountpointAt(s.runDir, name, n)
		if taken[path] {
			continue
		}
		err := os.Mkdir(path, 0o700)
		if errors.Is(err, os.ErrExist) {
			if !all {
				taken, all = host.RecordedPaths(s.runDir), true
			}
			if taken[path] || !removeMountpoint(path) {
				continue
			}
			err = os.Mkdir(path, 0o700)
		}
		if err != nil {
			return "", err
		}
		return path, s.recordMountpoint(id, path)
	}
	return "", errMountpointsInUse
}

func (s *session) recordMountpoint(id uint64, path string) error {
	dir, err := host.DirIDOf(path)
	if err == nil {
		err = host.WriteRecord(s.dir, id, host.Record{Path: ipc.Path(path), Made: true, Dir: dir})
	}
	if err != nil {
		_ = unix.Rmdir(path) // else the next mount that wants it removes it
	}
	return err
}

// removeMountpoint removes a mountpoint without a record and reports whether the name is
// free. A directory that holds files stays: a tool has written them after the mount was
// gone.
func removeMountpoint(path string) bool {
	serve.ClearMount(host.Record{Path: ipc.Path(path)})
	err := unix.Rmdir(path)
	return err == nil || errors.Is(err, unix.ENOENT)
}

// awaitEnding clears away the session that has a path if it is dead. If only its client has
// ended it waits a moment: the session's server is about to give the path back, or another
// process clears it away.
func (s *session) awaitEnding(ctx context.Context, path string) {
	if _, err := os.Lstat(path); err != nil || s.paths()[path] {
		return
	}
	for end := time.Now().Add(endingPatience); time.Now().Before(end) && ctx.Err() == nil; {
		_ = CleanUp(ctx, s.runDir) // what remains keeps its name
		if owner := host.SessionOf(s.runDir, path); owner == "" || hasClient(owner) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// hasClient reports whether the client of a session exists: it listens for commands, even
// if it does not answer. If that cannot be found out, it counts as existing.
func hasClient(session string) bool {
	dir, err := os.Open(session)
	if err != nil {
		return false
	}
	defer dir.Close()
	nc, err := net.DialUnix("unix", nil, host.SocketAddr(dir))
	if err != nil {
		return !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOENT)
	}
	_ = nc.Close() // nothing was sent
	return true
}
