package fusefs

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// The process that runs the tests never serves a mount that it uses: each mount
// has a child, which is this test binary again with childEnv in its environment.
const childEnv = "FUSEFS_TEST_CHILD"

func TestMain(m *testing.M) {
	if config := os.Getenv(childEnv); config != "" {
		if err := runChild(config); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childConfig says what the child serves.
type childConfig struct {
	ReadOnly  bool
	Lower     bool              // as the lower layer of an overlay
	Xattrs    map[string]string // of each of Files, by name
	More      int               // mounts, beside the first
	Disable   []string
	MaxBytes  int64
	MaxInodes int64
	Files     map[string]string // there from the start, in the root
	Image     bool              // the tree stands on an image of these
	Quiet     bool              // the log is expected to complain
	Procs     int               // GOMAXPROCS; 0: as it comes
}

// panicName makes the child's Lookup panic.
const panicName = "panic-please"

// panicOn makes Lookup of panicName panic.
func panicOn(h *handler) {
	lookup := h.table[opLookup].do
	h.table[opLookup].do = func(s *server, r *request) fuse.Status {
		if bytes.HasPrefix(r.rest, []byte(panicName)) {
			panic("as asked")
		}
		return lookup(s, r)
	}
}

// gate is a store that answers late: as many reads of base content as were asked for wait
// in it, and are let go one by one.
type gate struct {
	wanted        atomic.Int64
	held, release chan struct{}
}

// slowStore holds the bases of a child.
var slowStore = gate{held: make(chan struct{}), release: make(chan struct{})}

func (g *gate) read() {
	for {
		n := g.wanted.Load()
		if n <= 0 {
			return
		}
		if g.wanted.CompareAndSwap(n, n-1) {
			g.held <- struct{}{}
			<-g.release
			return
		}
	}
}

// runChild serves each /dev/fuse from descriptor 3 on, a tree of its own by each, and
// answers the questions of [testMount.ask] until its input ends.
func runChild(config string) error {
	var cfg childConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	var conns []*Conn
	for i := range 1 + cfg.More {
		conn, err := cfg.serve(3 + i)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if err := json.NewEncoder(os.Stdout).Encode(replyTo(in.Text(), conns[0])); err != nil {
			return err
		}
	}
	return nil
}

// serve serves one descriptor.
func (cfg *childConfig) serve(fd int) (*Conn, error) {
	tree, err := cfg.tree()
	if err != nil {
		return nil, err
	}
	opts := &Options{ReadOnly: cfg.ReadOnly || cfg.Lower, Disable: cfg.Disable}
	if cfg.Lower {
		traits, err := tree.Traits()
		if err != nil {
			return nil, err
		}
		opts.Lower = &traits
	}
	if cfg.Quiet {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := newHandler(tree, opts)
	if err != nil {
		return nil, err
	}
	panicOn(h)
	return serve(fd, h)
}

func (cfg *childConfig) tree() (*fs.Tree, error) {
	home, err := fs.NewTmpfsHome(cmp.Or(cfg.MaxBytes, 1<<30), 0)
	if err != nil {
		return nil, err
	}
	opts := &fs.Options{MaxBytes: cfg.MaxBytes, MaxInodes: cfg.MaxInodes}
	if cfg.Image {
		return fs.NewOn(newFileImage(cfg.Files), home, opts)
	}
	tree, err := fs.New(home, opts)
	if err != nil {
		return nil, err
	}
	for name, content := range cfg.Files {
		n, errno := tree.Mknod(tree.Root(), name, unix.S_IFREG|0o644, 0, fs.Owner{})
		if errno == 0 {
			_, errno = tree.WriteAt(n, []byte(content), 0, false)
		}
		for attr, value := range cfg.Xattrs {
			errno = cmp.Or(errno, tree.SetXattr(n, attr, []byte(value), 0))
		}
		if errno != 0 {
			return nil, errno
		}
		tree.Unref(n, 1)
	}
	return tree, nil
}

// reply is the child's answer; only the fields that were asked for are set.
type reply struct {
	Stats map[string]uint64
	Bytes []byte             // of the file "f"
	Err   string             // of the tree
	End   string             // what Conn.Wait said
	Walk  map[string]fs.Attr // by path
}

func replyTo(question string, conn *Conn) reply {
	var r reply
	tree := conn.handler.tree
	switch question {
	case "stats":
		r.Stats = conn.Stats()
	case "err":
		r.Err = fmt.Sprint(tree.Err())
	case "threads":
		tasks, err := os.ReadDir("/proc/self/task")
		r.Stats, r.Err = map[string]uint64{"threads": uint64(len(tasks))}, fmt.Sprint(err)
	case "hold":
		slowStore.wanted.Add(1)
	case "held":
		select {
		case <-slowStore.held:
		case <-time.After(30 * time.Second):
			r.Err = "nobody reads from the store"
		}
	case "release":
		slowStore.release <- struct{}{}
	case "f":
		n, errno := tree.Lookup(tree.Root(), "f")
		if errno != 0 {
			r.Err = errno.Error()
			return r
		}
		defer tree.Unref(n, 1)
		r.Bytes = make([]byte, tree.Attr(n).Size)
		if _, errno := tree.ReadAt(n, r.Bytes, 0); errno != 0 {
			r.Err = errno.Error()
		}
	case "wait":
		r.End = fmt.Sprint(conn.Wait())
	case "walk":
		r.Walk = map[string]fs.Attr{}
		err := tree.Walk(func(path string, _ *fs.Inode, a fs.Attr) error {
			r.Walk[path] = a
			return nil
		})
		if err != nil {
			r.Err = err.Error()
		}
	}
	return r
}

// testMount is a mount that a child serves.
type testMount struct {
	tb   testing.TB
	dir  string   // the first of dirs
	dirs []string // mountpoints
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *json.Decoder
}

// newMount mounts a tree of its own, and sees to it that nothing of it is left
// after the test.
func newMount(tb testing.TB, cfg childConfig) *testMount {
	tb.Helper()
	m := &testMount{tb: tb}
	for range 1 + cfg.More {
		m.dirs = append(m.dirs, mountpoint(tb))
	}
	m.dir = m.dirs[0]
	tb.Cleanup(m.clean)
	var devs []*os.File
	for _, dir := range m.dirs {
		dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
		if err != nil {
			tb.Fatalf("these tests need root and /dev/fuse: %v", err)
		}
		defer dev.Close() // the child has its own; the connection must end with it
		devs = append(devs, dev)
		m.mount(cfg, dir, dev)
	}
	m.start(cfg, devs)
	return m
}

// mount mounts one descriptor.
func (m *testMount) mount(cfg childConfig, dir string, dev *os.File) {
	m.tb.Helper()
	var flags uintptr = unix.MS_NOSUID | unix.MS_NODEV
	if cfg.ReadOnly || cfg.Lower {
		flags |= unix.MS_RDONLY
	}
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other,max_read=%d",
		dev.Fd(), maxTransfer)
	if err := unix.Mount("workdir", dir, "fuse.workdir", flags, data); err != nil {
		m.tb.Fatalf("mount: %v", err)
	}
}

func (m *testMount) start(cfg childConfig, devs []*os.File) {
	m.tb.Helper()
	config, err := json.Marshal(cfg)
	if err != nil {
		m.tb.Fatal(err)
	}
	m.cmd = exec.Command("/proc/self/exe")
	m.cmd.Env = append(os.Environ(), childEnv+"="+string(config))
	if cfg.Procs > 0 {
		m.cmd.Env = append(m.cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", cfg.Procs))
	}
	m.cmd.ExtraFiles = devs
	m.cmd.Stderr = os.Stderr
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		m.tb.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		m.tb.Fatal(err)
	}
	m.out = json.NewDecoder(out)
	if err := m.cmd.Start(); err != nil {
		m.tb.Fatal(err)
	}
}

// ask asks the child: "stats", "err", "f", "wait" or "walk" of the first mount, "threads"
// of its own; "hold" (the next read of the store waits), "held" (waits until one does),
// "release" (lets one go).
func (m *testMount) ask(question string) reply {
	m.tb.Helper()
	var r reply
	if _, err := fmt.Fprintln(m.in, question); err != nil {
		m.tb.Fatalf("ask %s: %v", question, err)
	}
	if err := m.out.Decode(&r); err != nil {
		m.tb.Fatalf("ask %s: %v", question, err)
	}
	return r
}

// unmount unmounts and waits for the connection's end.
func (m *testMount) unmount() reply {
	m.tb.Helper()
	if err := unmount(m.dir); err != nil {
		m.tb.Fatalf("unmount: %v", err)
	}
	return m.ask("wait")
}

// unmount unmounts dir. It may be in use for a moment by somebody who looks at all
// mounts that there are, as df(1) does.
func unmount(dir string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		err := unix.Unmount(dir, 0)
		if err != unix.EBUSY {
			return err
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return err
		}
	}
}

// clean unmounts what is still mounted, detached if necessary, and ends the child.
func (m *testMount) clean() {
	for _, dir := range m.dirs {
		err := unmount(dir)
		if err != nil && err != unix.EINVAL { // EINVAL: not mounted
			m.tb.Errorf("unmount: %v", err)
			_ = unix.Unmount(dir, unix.MNT_DETACH)
		}
	}
	if m.cmd == nil || m.cmd.Process == nil {
		return
	}
	_ = m.in.Close()
	if err := m.cmd.Wait(); err != nil {
		m.tb.Errorf("child: %v", err)
	}
}

// newTmpfs mounts the oracle.
func newTmpfs(tb testing.TB) string {
	tb.Helper()
	dir := mountpoint(tb)
	if err := unix.Mount("oracle", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		tb.Fatalf("mount tmpfs: %v", err)
	}
	tb.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// mountpoint makes a directory that every user can reach.
func mountpoint(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "m")
	err := errors.Join(
		os.Mkdir(dir, 0o755),
		os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755), // of all of TempDir's in this test
		os.Chmod(filepath.Dir(dir), 0o755),
	)
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}
