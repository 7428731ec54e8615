package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/serve"
	"github.com/workdir/workdir/mount/internal/wire"
)

// The names under which the program runs itself again as something else.
const (
	shimName = "workdir-shim"
)

// Exit codes of the shim, as in a shell.
const (
	exitCannotRun = 126
	exitNotFound  = 127
)

var initCalled atomic.Bool

// The shim stays on its first thread: a parent death signal (PR_SET_PDEATHSIG, prctl(2))
// belongs to a thread, and an execve(2) by another thread loses it. Only an init function
// is sure to run on the first thread.
func init() {
	if len(os.Args) > 0 && os.Args[0] == shimName {
		runtime.LockOSThread()
	}
}

// Init must be the first line of main, after the registration of the program's own stores.
// In the program itself it returns at once. If the program was run again as a server or as
// the shim of [Command], it does that work and does not return.
func Init() {
	initCalled.Store(true)
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case wire.ServerName:
		os.Exit(serve.Main())
	case shimName:
		os.Exit(shimMain(os.Args))
	}
}

// selfBinary returns the program to run as server or shim.
func selfBinary() (string, error) {
	if initCalled.Load() {
		return "/proc/self/exe", nil
	}
	path, err := exec.LookPath("workdir-mount")
	if err != nil {
		return "", fmt.Errorf("%w: call mount.Init() as the first line of main, or install workdir-mount in PATH", ErrNoServer)
	}
	return path, nil
}

// Command returns an *exec.Cmd that runs name in the mount. Its working directory is the
// mountpoint, or Options.At; name is looked up in PATH from there.
//
// Use it rather than exec.Command with a Dir or a program in the mount, which freezes the
// whole calling program while the kernel reads from the mount (fork is a vfork). A shim
// outside of the mount starts the command. Do not set Dir, Path or Args[0] to [5] of the
// *exec.Cmd; if its SysProcAttr is set, add to it rather than replace it: Options.At needs
// it. A name that cannot be found or run exits with 127 or 126. For a plain workspace in a
// program that has no shim (see [Init]) it is an ordinary exec.Command with a Dir.
func Command(ctx context.Context, m *Mount, name string, arg ...string) *exec.Cmd {
	return CommandIn(ctx, m, "", name, arg...)
}

// CommandIn is [Command] with another working directory: dir, relative to the
// mountpoint.
func CommandIn(ctx context.Context, m *Mount, dir, name string, arg ...string) *exec.Cmd {
	binary, err := selfBinary()
	if err != nil && m.opts.Plain && m.opts.At == "" { // nothing can freeze, so no shim is needed
		cmd := exec.CommandContext(ctx, name, arg...)
		cmd.Dir = m.Path(dir)
		return cmd
	}
	cmd := exec.CommandContext(ctx, binary)
	if err != nil {
		cmd.Err = err
	}
	cmd.Dir = "/"
	cmd.Args = shimWork{mountpoint: m.path, dir: dir, at: m.opts.At, plain: m.opts.Plain, name: name, arg: arg}.args()
	if m.opts.At != "" {
		cmd.SysProcAttr = host.OwnNamespace()
	}
	return cmd
}

// shimWork describes the work of the shim.
type shimWork struct {
	mountpoint string
	dir        string // the working directory, relative to the mountpoint
	at         string // where else the command sees the mountpoint; "" for none
	plain      bool   // nothing is mounted at the mountpoint
	name       string // of the command
	arg        []string
}

// shimArgs is how many arguments precede the command's own.
const shimArgs = 6

// args returns the arguments of the shim; parseShimWork parses them.
func (w shimWork) args() []string {
	view := "mounted"
	if w.plain {
		view = "plain"
	}
	return append([]string{shimName, w.mountpoint, w.dir, w.at, view, w.name}, w.arg...)
}

func parseShimWork(args []string) (w shimWork, ok bool) {
	if len(args) < shimArgs {
		return w, false
	}
	return shimWork{mountpoint: args[1], dir: args[2], at: args[3], plain: args[4] == "plain", name: args[5], arg: args[shimArgs:]}, true
}

// shimMain does the work in its arguments: it changes to the directory and becomes the
// command.
func shimMain(args []string) int {
	w, ok := parseShimWork(args)
	if !ok {
		fmt.Fprintln(os.Stderr, shimName+": for internal use")
		return exitCannotRun
	}
	dir, err := w.enter()
	if err != nil {
		fmt.Fprintf(os.Stderr, "workdir: %v\n", err)
		return exitCannotRun
	}
	_ = os.Setenv("PWD", dir) // fails only on names and values that a path cannot be
	path, err := exec.LookPath(w.name)
	if errors.Is(err, exec.ErrDot) {
		err = nil
	}
	if err == nil {
		err = unix.Exec(path, append([]string{w.name}, w.arg...), os.Environ())
	}
	fmt.Fprintf(os.Stderr, "workdir: %s: %v\n", w.name, plainCause(err))
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, unix.ENOENT) {
		return exitNotFound
	}
	return exitCannotRun
}

// enter changes to the working directory of the command, and returns its path as the
// command sees it.
func (w shimWork) enter() (string, error) {
	if w.at == "" {
		dir := filepath.Join(w.mountpoint, w.dir)
		return dir, enter(dir, !w.plain)
	}
	if err := enter(w.mountpoint, !w.plain); err != nil {
		return "", err
	}
	if err := host.ShowAt(w.mountpoint, w.at); err != nil {
		return "", fmt.Errorf("show %s at %s: %w", w.mountpoint, w.at, err)
	}
	dir := filepath.Join(w.at, w.dir)
	return dir, enter(dir, !w.plain)
}

// enter changes to a directory. If mounted is set, the directory must be on a FUSE mount or
// an overlay: a command that starts after the unmount would otherwise work in the empty
// mountpoint.
func enter(dir string, mounted bool) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(".", &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if mounted && st.Type != unix.FUSE_SUPER_MAGIC && st.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return fmt.Errorf("%s: %w: it was closed before the command could start", dir, ErrNotMounted)
	}
	return nil
}

// plainCause drops the words that package exec adds to a cause.
func plainCause(err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
