package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
	"golang.org/x/sys/unix"
)

// What a process of its own does, if these tests started it.
var roles = map[string]func(args []string) error{
	"put":  rolePut,
	"full": roleFull,
	"mem":  roleMem,
}

const roleEnv = "WORKDIR_STORE_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleEnv)]; role != nil {
		if err := role(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	storetest.Main(m, openAddress)
}

// process is another process that has said that it is ready.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	// said is what it said when it was ready.
	said string
}

// start starts a process and waits until it is ready.
func start(t *testing.T, role string, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), roleEnv+"="+role)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	noError(t, err)
	out, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	said, err := bufio.NewReader(out).ReadString('\n')
	noError(t, err)
	return &process{t: t, cmd: cmd, in: in, said: said[:len(said)-1]}
}

// kill ends it by SIGKILL and waits until it is gone.
func (p *process) kill() {
	p.t.Helper()
	noError(p.t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
}

// finish lets it go on, and waits for its end.
func (p *process) finish() {
	p.t.Helper()
	noError(p.t, p.in.Close())
	noError(p.t, p.cmd.Wait())
}

// stop says that this process is ready, and waits until it may go on.
func stop(say string) {
	fmt.Println(say)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// rolePut puts a megabyte, and stops at args[2]: within "write" or "before".
func rolePut(args []string) error {
	root, key, at := args[0], args[1], args[2]
	stopAt := func(point string) {
		if at == point {
			stop("ready")
		}
	}
	write := func(w io.Writer) error {
		_, err := w.Write(make([]byte, 1<<20))
		stopAt("write")
		return err
	}
	before := func(context.Context) error { stopAt("before"); return nil }
	_, err := store.NewFileStore(root).Put(context.Background(), key, write, &store.PutOptions{Before: before})
	return err
}

// roleFull fills a disk of its own, in a mount namespace of its own.
func roleFull(args []string) error {
	root := args[0]
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
		return fmt.Errorf("mount a small disk: %w", err)
	}
	s, ctx := store.NewFileStore(root), context.Background()
	write := func(size int) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(make([]byte, size)); return err }
	}
	info, err := s.Put(ctx, "key", write(1000), nil)
	if err != nil {
		return err
	}
	_, err = s.Put(ctx, "key", write(4<<20), &store.PutOptions{Replace: info.Revision})
	if !errors.Is(err, store.ErrFull) || !errors.Is(err, unix.ENOSPC) || errors.Is(err, store.ErrUnknown) {
		return fmt.Errorf("a full disk returns %v", err)
	}
	o, err := s.Open(ctx, "key")
	if err != nil {
		return err
	}
	defer o.Close()
	keep := make([]store.Piece, 4000) // of 1,000 bytes each
	for i := range keep {
		keep[i].Len = info.Size
	}
	_, err = store.Compose(ctx, s, "key", o, keep, &store.PutOptions{Replace: info.Revision})
	if !errors.Is(err, store.ErrFull) || !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("composing on a full disk returns %v", err)
	}
	if names, err := filepath.Glob(root + "/.workdir/*"); err != nil || len(names) != 1 || !strings.HasSuffix(names[0], lockPath) {
		return fmt.Errorf("left on the full disk: %q, %w", names, err)
	}
	if now, err := s.Stat(ctx, "key"); err != nil || now != info {
		return fmt.Errorf("the full disk changed the archive to %+v, %w", now, err)
	}
	_, err = s.Put(ctx, "key", write(2000), &store.PutOptions{Replace: info.Revision})
	return err
}

// roleMem makes a directory for mem, and reports it.
func roleMem([]string) error {
	home, err := store.MemDir()
	stop(home)
	return err
}

func TestFileFullDisk(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], t.TempDir())
	cmd.Env = append(os.Environ(), roleEnv+"=full")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// A kill leaves a temporary file; who comes to the directory removes it, at their time.
func TestFileKilledPut(t *testing.T) {
	for _, at := range []string{"write", "before"} {
		for name, come := range map[string]func(store.Store) error{
			"Open": func(s store.Store) error {
				_, err := s.Open(t.Context(), "dir/none")
				return ignore(err, store.ErrNotExist)
			},
			"Stat": func(s store.Store) error { _, err := s.Stat(t.Context(), "dir/other"); return err },
			"List": func(s store.Store) error { _, err := s.List(t.Context(), "dir/"); return err },
			"Put": func(s store.Store) error {
				_, err := s.Put(t.Context(), "dir/other", writes("new"), &store.PutOptions{Replace: stat(t, s, "dir/other").Revision})
				return err
			},
		} {
			t.Run(at+name, func(t *testing.T) {
				root := t.TempDir()
				s := store.NewFileStore(root)
				_, err := s.Put(t.Context(), "dir/other", writes("other"), nil)
				noError(t, err)
				start(t, "put", root, "dir/key", at).kill()
				for _, swept := range []bool{false, true} {
					if swept {
						store.ForgetSweeps()
					}
					noError(t, come(s))
					if left := litter(t, root); (len(left) == 0) != swept {
						t.Errorf("there is %q; want the temporary file removed: %v", left, swept)
					}
				}
				_, err = s.Put(t.Context(), "dir/key", writes("new"), nil)
				noError(t, err)
			})
		}
	}
}

// What builds left that had their temporary files beside the archives goes with the first
// commit; that of a writer that lives stays.
func TestFileLeftByEarlierBuilds(t *testing.T) {
	root := t.TempDir()
	left, live := root+"/.workdir-tmp-0123456789abcdef", root+"/.workdir-tmp-fedcba9876543210"
	for _, path := range []string{left, live} {
		noError(t, os.WriteFile(path, nil, 0o600))
	}
	writer, err := os.Open(live)
	noError(t, err)
	defer writer.Close()
	noError(t, unix.Flock(int(writer.Fd()), unix.LOCK_EX))
	_, err = store.NewFileStore(root).Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	wantTree(t, root, filepath.Base(live), "key.tar.gz")
}

// The temporary file of a writer that lives is never taken for a left one.
func TestFileLivePut(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	p := start(t, "put", root, "dir/key", "write")
	for i := range 3 {
		store.ForgetSweeps()
		_, err := s.Put(t.Context(), fmt.Sprintf("dir/other-%d", i), writes("other"), nil)
		noError(t, err)
	}
	if left := litter(t, root); len(left) != 1 {
		t.Errorf("the live writer has %q, want its temporary file", left)
	}
	p.finish()
	info, err := s.Stat(t.Context(), "dir/key")
	if err != nil || info.Size != 1<<20 {
		t.Errorf("the live writer stored %+v, %v", info, err)
	}
}

// A Put that waits for a lock that is never released can be cancelled.
func TestFileLockedDirectory(t *testing.T) {
	root := t.TempDir()
	noError(t, os.Mkdir(root+"/dir", 0o755))
	unlock, err := store.LockDir(t.Context(), root+"/dir")
	noError(t, err)
	defer unlock()
	refused := make(chan struct{}, 1)
	s := store.NewFileStoreLockedBy(root, func(fd int) error {
		err := store.LockFile(fd)
		if err == unix.EAGAIN {
			select {
			case refused <- struct{}{}:
			default:
			}
		}
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	waiting := make(chan error, 1)
	go func() {
		_, err := s.Put(ctx, "dir/other", writes("other"), nil)
		waiting <- err
	}()
	select {
	case err := <-waiting:
		t.Fatalf("a Put did not wait for the lock: %v", err)
	case <-refused:
	}
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("the Put that was given up returns %v", err)
	}
	if left := litter(t, root); len(left) != 0 {
		t.Errorf("the Put that was given up left %q", left)
	}
	if _, err := s.Stat(t.Context(), "dir/other"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("the Put that was given up stored: %v", err)
	}
}

func TestMemOfKilledProcess(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	killed, alive := start(t, "mem"), start(t, "mem")
	killed.kill()
	next := start(t, "mem")
	for path, want := range map[string]bool{killed.said: false, alive.said: true, next.said: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("directory %s: %v, want it to be there: %v", path, err, want)
		}
	}
	alive.finish()
	next.finish()
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

func writes(content string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, content); return err }
}
