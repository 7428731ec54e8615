package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// place is a kind of file system for the tasks.
type place struct {
	name  string
	color string // in plots
	// open creates a fresh one, with its files below dir.
	open func(c config, dir string) (*opened, error)
}

// opened is an open place.
type opened struct {
	path    string
	servers []int // the processes that serve it; none if the kernel does
	close   func() error
	status  func() (served, error) // nil if requests are not counted
}

// served is the status of a mount of ours.
type served struct {
	View     string            `json:"view"` // "" from builds with only one view
	Requests map[string]uint64 `json:"requests"`
}

// total is the number of requests for which a caller waits.
func (s served) total() (n uint64) {
	for op, count := range s.Requests {
		if op != "RELEASE" && op != "RELEASEDIR" && op != "FORGET" && op != "BATCH_FORGET" {
			n += count
		}
	}
	return n
}

// places are compared with each other; the first one is the reference.
var places = []place{
	{"tmpfs", "#000000", openTmpfs},
	{"disk", "#8a8a8a", openDisk},
	{"workdir, overlay", "#1f77b4", openWorkdir("overlay")},
	{"workdir, FUSE", "#76b7e8", openWorkdir("fuse")},
	{"bindfs", "#d95f5f", overTmpfs("bindfs", "-f", "back", "mnt")},
	{"fuse-overlayfs", "#8c6bb1", overTmpfs("fuse-overlayfs", "-f", "-o", "lowerdir=lower,upperdir=back,workdir=work", "mnt")},
	{"rclone mount", "#5aa469", overTmpfs("rclone", "mount", "back", "mnt", "--config", "", "--cache-dir", "work", "--vfs-cache-mode", "writes", "--file-perms", "0777")},
	{"JuiceFS", "#e0a030", overTmpfs("sh", "-ec", juicefs)},
	{"go-fuse loopback", "#a0724a", overTmpfs("loopback", "-q", "-directmount", "mnt", "back")},
}

// juicefs creates a volume with its names in SQLite and its content in files.
const juicefs = `juicefs format --no-update --trash-days 0 --storage file --bucket "$PWD/back/" sqlite3://work/names.db bench >/dev/null 2>&1
exec juicefs mount --no-syslog --no-usage-report --backup-meta 0 --metrics 127.0.0.1:0 --cache-dir "$PWD/work/cache" sqlite3://work/names.db mnt >/dev/null 2>&1`

// before is the place of an earlier build, which chooses its view by itself.
func before(binary string) place {
	return place{"workdir, before", "#12395c", func(c config, dir string) (*opened, error) {
		c.binary = binary
		return openWorkdir("")(c, dir)
	}}
}

func openTmpfs(_ config, dir string) (*opened, error) {
	if err := unix.Mount("bench", dir, "tmpfs", 0, "mode=755"); err != nil {
		return nil, fmt.Errorf("mount a tmpfs: %w; run as root", err)
	}
	return &opened{path: dir, close: func() error { return unix.Unmount(dir, 0) }}, nil
}

func openDisk(_ config, dir string) (*opened, error) {
	return &opened{path: dir, close: func() error { return nil }}, nil
}

// openWorkdir mounts an empty workspace by a view; "" leaves the choice to the build.
func openWorkdir(view string) func(config, string) (*opened, error) {
	return func(c config, dir string) (*opened, error) {
		w := &workdir{binary: c.binary, dir: dir}
		mount, umount := []string{"mount"}, []string{"umount"}
		if view != "" {
			mount, umount = append(mount, "--view", view), append(umount, "--discard")
		}
		if err := makeDirs(w.path(), filepath.Join(dir, "store")); err != nil {
			return nil, err
		}
		var m mounted
		if _, err := w.do(&m, append(mount, w.url(), w.path())...); err != nil {
			return nil, err
		}
		o := &opened{path: w.path(), servers: []int{m.ServerPID}}
		o.status = func() (s served, err error) {
			_, err = w.do(&s, "status", w.path())
			return s, err
		}
		o.close = func() error {
			_, err := w.do(nil, append(umount, w.path())...)
			return err
		}
		return o, nil
	}
}

// overTmpfs runs a program that serves the directory mnt, with the directories back, lower and
// work in a separate tmpfs.
func overTmpfs(program string, args ...string) func(config, string) (*opened, error) {
	return func(c config, dir string) (*opened, error) {
		below, err := openTmpfs(c, dir)
		if err != nil {
			return nil, err
		}
		p, err := serveBelow(dir, program, args)
		if err != nil {
			return nil, errors.Join(err, below.close())
		}
		stop := p.close
		p.close = func() error { return errors.Join(stop(), below.close()) }
		return p, nil
	}
}

func serveBelow(dir, program string, args []string) (*opened, error) {
	for _, name := range []string{"mnt", "back", "lower", "work"} {
		if err := makeDirs(filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	mnt := filepath.Join(dir, "mnt")
	cmd := command(program, args...)
	cmd.Dir = dir
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the exit status does not matter, and is in cmd.ProcessState
		close(ended)
	}()
	p := &opened{path: mnt, servers: []int{cmd.Process.Pid}, close: func() error { return endServer(cmd, mnt, ended) }}
	if err := waitMounted(mnt, cmd, ended); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", program, err), p.close())
	}
	return p, nil
}

// patience is how long a server may take to mount or to end.
const patience = 20 * time.Second

// waitMounted waits until a different file system is at path.
func waitMounted(path string, cmd *exec.Cmd, ended <-chan struct{}) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		same, err := sameDevice(path, filepath.Dir(path))
		if err != nil || !same {
			return err
		}
		select {
		case <-ended:
			return fmt.Errorf("ended before it mounted: %v", cmd.ProcessState)
		case <-late:
			return errors.New("did not mount")
		case <-tick.C:
		}
	}
}

func sameDevice(a, b string) (bool, error) {
	var sa, sb unix.Stat_t
	err := errors.Join(unix.Stat(a, &sa), unix.Stat(b, &sb))
	return sa.Dev == sb.Dev, err
}

// endServer unmounts, by force if need be, and waits for the server's end.
func endServer(cmd *exec.Cmd, mnt string, ended <-chan struct{}) error {
	err := unix.Unmount(mnt, 0)
	if err != nil {
		_ = unix.Unmount(mnt, unix.MNT_DETACH) // it may not be mounted
		_ = cmd.Process.Signal(unix.SIGTERM)   // or not alive
	}
	select {
	case <-ended:
	case <-time.After(patience):
		err = errors.Join(err, cmd.Process.Kill())
		<-ended
	}
	return err
}

func makeDirs(paths ...string) error {
	for _, path := range paths {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
	}
	return nil
}
