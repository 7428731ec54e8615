package mount

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/serve"
	"github.com/workdir/workdir/mount/internal/wire"
)

// The watchdog asks the server every pingInterval whether it is there. After
// maxMissed silent intervals in a row of the client's own running time (a
// suspended machine does not count) the server is taken for stopped, and killed:
// tools then get ENOTCONN instead of hanging for ever.
var pingInterval = 5 * time.Second // shorter in a test

const maxMissed = 6

// startPatience bounds the start of a server process.
const startPatience = 30 * time.Second

// stderrTail is how much of a dead server's last words is shown, bytes.
const stderrTail = 2048

// session is one server process and what its client knows of it.
type session struct {
	dir    string        // immutable; the session directory
	runDir string        // immutable
	ping   time.Duration // immutable; pingInterval
	lock   *os.File      // immutable; held as long as we live
	conn   *ipc.Conn
	proc   *os.Process   // nil for a local server
	remote *remoteServer // guarded by mu; answers commands of other processes, nil before it does

	lost    chan struct{} // closed when the server is gone, and its mounts are known to be dead
	exited  chan struct{} // closed when the process has been reaped
	exitErr error         // what Wait said; read after exited

	callbacks callbacks // of what is about no mount; has its own lock

	taking chan struct{} // immutable; holds a token while a mountpoint is taken

	mu     sync.Mutex
	killed string            // guarded by mu; why we killed it
	nextID uint64            // guarded by mu
	mounts map[uint64]*Mount // guarded by mu
	dead   map[uint64]*Mount // guarded by mu; of a lost server, and not closed yet
}

// sessions are the servers of this process. The mutex is held for a look at the map
// alone: to start or end one takes its slot, so that it keeps nobody who needs another.
var sessions = struct {
	sync.Mutex
	all map[sessionKey]*slot
}{all: map[sessionKey]*slot{}}

// slot is the place of one server.
type slot struct {
	turn chan struct{} // holds one token: its holder looks at s, starts it or ends it
	s    *session      // guarded by turn; nil before the first one, and after it was ended
}

// take takes the token of the slot. The caller calls give.
func (sl *slot) take(ctx context.Context) error {
	select {
	case <-sl.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (sl *slot) give() { sl.turn <- struct{}{} }

func slotOf(key sessionKey) *slot {
	sessions.Lock()
	defer sessions.Unlock()
	sl := sessions.all[key]
	if sl == nil {
		sl = &slot{turn: make(chan struct{}, 1)}
		sl.give()
		sessions.all[key] = sl
	}
	return sl
}

func allSlots() []*slot {
	sessions.Lock()
	defer sessions.Unlock()
	return slices.Collect(maps.Values(sessions.all))
}

type sessionKey struct {
	runDir string
	local  bool // for plain workspaces, without a process
}

// getSession gives the server for a run directory, and starts it if there is
// none. That of plain workspaces needs neither FUSE nor a process. ErrCannotMount,
// ErrNoServer.
func getSession(ctx context.Context, runDir string, plain bool) (*session, error) {
	if !plain {
		if err := checkHost(); err != nil {
			return nil, err
		}
	} else if runDir == "" {
		runDir = PlainRunDir()
	}
	runDir, err := host.EnsureRunDir(runDir)
	if err != nil {
		return nil, err
	}
	key := sessionKey{runDir, plain}
	sl := slotOf(key)
	if err := sl.take(ctx); err != nil {
		return nil, err
	}
	defer sl.give()
	if sl.s != nil && !sl.s.isLost() {
		return sl.s, nil
	}
	s, err := startSession(ctx, key)
	if err != nil {
		return nil, err
	}
	sl.s = s
	return s, nil
}

// StartOptions are the options of mounts that StartWith looks at. nil and the zero
// value are good.
type StartOptions struct {
	RunDir string // as Options.RunDir
	Plain  bool   // as Options.Plain: neither FUSE nor a server process is needed
}

// Start is StartWith without options.
func Start(ctx context.Context) error { return StartWith(ctx, nil) }

// StartWith checks that this host allows the mounts that will be opened with opts,
// and starts their server process now rather than at the first Open, so that a
// program which cannot work says so when it begins. It may be called again. Errors:
// ErrCannotMount, ErrNoServer, ctx's.
func StartWith(ctx context.Context, opts *StartOptions) error {
	var o StartOptions
	if opts != nil {
		o = *opts
	}
	_, err := getSession(ctx, o.RunDir, o.Plain)
	return err
}

// checkHost says what this host lacks before anything is tried.
func checkHost() error {
	err := host.CheckFUSE()
	var lack *HostError
	if errors.As(err, &lack) {
		const way = "do without FUSE in a plain directory (Options.Plain, --plain)"
		if lack.Hint == "" {
			lack.Hint = way
		} else {
			lack.Hint += "; or " + way
		}
	}
	return err
}

// Stop ends the server processes of this program that have no open mount, after
// the commands of other processes that they are answering. A program that just
// exits need not call it: its servers end with it.
func Stop(ctx context.Context) error {
	for _, sl := range allSlots() {
		if err := sl.stop(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stop ends the server in the slot unless it has open mounts.
func (sl *slot) stop(ctx context.Context) error {
	if err := sl.take(ctx); err != nil {
		return err
	}
	defer sl.give()
	if sl.s == nil || sl.s.openMounts() > 0 {
		return nil
	}
	if err := sl.s.end(ctx); err != nil {
		return err
	}
	sl.s = nil
	return nil
}

func (s *session) openMounts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mounts)
}

// end closes the connection, which ends the server, and waits for that.
func (s *session) end(ctx context.Context) error {
	s.remoteServer().drain(ctx)
	s.conn.Close()
	s.callbacks.flush()
	select {
	case <-s.lost:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *session) isLost() bool {
	select {
	case <-s.conn.Done():
		return true
	case <-s.lost:
		return true
	default:
		return false
	}
}

// startSession clears away what others left, and starts a server.
func startSession(ctx context.Context, key sessionKey) (*session, error) {
	if err := CleanUp(ctx, key.runDir); err != nil {
		return nil, err
	}
	dir, lock, err := host.NewSession(ctx, key.runDir)
	if err != nil {
		return nil, &HostError{Path: key.runDir, What: "make a session: " + err.Error()}
	}
	s := &session{
		dir: dir, runDir: key.runDir, lock: lock, ping: pingInterval, mounts: map[uint64]*Mount{},
		taking: make(chan struct{}, 1), lost: make(chan struct{}), exited: make(chan struct{}),
	}
	start := s.startServer
	if key.local {
		start = s.startLocal
	}
	if err := start(); err != nil {
		lock.Close()
		host.RemoveSession(dir)
		return nil, err
	}
	go s.watchEnd()
	if err := s.hello(ctx); err != nil {
		s.kill("it did not start")
		<-s.lost
		return nil, fmt.Errorf("start server process: %w", err)
	}
	if err := s.startRemote(); err != nil {
		s.kill("not needed")
		<-s.lost
		return nil, &HostError{Path: dir, What: "listen: " + err.Error()}
	}
	go s.watchdog()
	return s, nil
}

// startServer runs the program again as a server, with a socket to us.
func (s *session) startServer() error {
	binary, err := selfBinary()
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("start server process: socketpair: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "client")
	defer ours.Close()
	defer theirs.Close()
	nc, err := net.FileConn(ours)
	if err != nil {
		return fmt.Errorf("start server process: %w", err)
	}
	stderr, err := os.OpenFile(filepath.Join(s.dir, host.StderrName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		nc.Close()
		return fmt.Errorf("start server process: %w", err)
	}
	defer stderr.Close()
	cmd := exec.Command(binary)
	cmd.Args = []string{wire.ServerName}
	cmd.Dir = "/"
	cmd.Stderr = stderr
	cmd.ExtraFiles = []*os.File{theirs, s.lock} // wire.SocketFD, wire.LockFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		nc.Close()
		return fmt.Errorf("%w: start %s: %w", ErrNoServer, binary, err)
	}
	s.proc = cmd.Process
	go func() {
		s.exitErr = cmd.Wait()
		close(s.exited)
	}()
	s.conn = ipc.New(nc, s.handle, wire.Codec)
	return nil
}

// startLocal serves in this process. Nobody waits for the server of a plain directory
// while the kernel keeps this process waiting, as with FUSE.
func (s *session) startLocal() error {
	ours, theirs := net.Pipe()
	go func() {
		serve.Here(theirs, s.lock)
		close(s.exited)
	}()
	s.conn = ipc.New(ours, s.handle, wire.Codec)
	return nil
}

// pid is the process that serves.
func (s *session) pid() int {
	if s.proc == nil {
		return os.Getpid()
	}
	return s.proc.Pid
}

func (s *session) hello(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var reply wire.HelloReply
	return s.conn.Call(ctx, wire.CallHello, wire.HelloRequest{Protocol: wire.Version, Session: ipc.Path(s.dir)}, &reply)
}

// handle answers the server.
func (s *session) handle(ctx context.Context, _ *ipc.Conn, method string, body json.RawMessage) (out any, err error) {
	defer func() { panics.Log(slog.Default(), err) }()
	defer panics.Catch(method, &err)
	switch method {
	case wire.CallDecide:
		m, err := s.find(body)
		if err != nil {
			return nil, err
		}
		return m.decide(), nil
	case wire.CallConfirm:
		m, err := s.find(body)
		if err != nil {
			return nil, err
		}
		return struct{}{}, m.confirm(ctx)
	case wire.CallEnded:
		m, err := s.find(body)
		if err == nil {
			go m.endedByOthers()
		}
		return struct{}{}, err
	case wire.NoteProgress:
		if m, err := s.find(body); err == nil {
			m.progress(body)
		}
	case wire.NoteLog:
		s.log(body)
	default:
		return nil, fmt.Errorf("unknown call %q", method)
	}
	return nil, nil
}

func (s *session) find(body json.RawMessage) (*Mount, error) {
	id, err := wire.Decode[wire.MountID](body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mounts[id.ID]; m != nil {
		return m, nil
	}
	return nil, ErrClosed
}

func (s *session) log(body json.RawMessage) {
	note, err := wire.Decode[wire.LogNote](body)
	if err != nil {
		return
	}
	logger, callbacks := slog.Default(), &s.callbacks
	if m, err := s.find(body); err == nil {
		logger, callbacks = m.logger(), &m.callbacks
	}
	attrs := make([]any, 0, len(note.Attrs))
	for _, a := range note.Attrs {
		attrs = append(attrs, slog.String(a[0], a[1]))
	}
	callbacks.run(func() { logger.Log(context.Background(), note.Level, note.Message, attrs...) })
}

// watchdog kills a server that no longer answers.
func (s *session) watchdog() {
	for missed := 0; missed < maxMissed; {
		if missed == 0 && !s.pause(s.ping) {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.ping)
		err := s.conn.Call(ctx, wire.CallPing, nil, nil)
		cancel()
		switch {
		case err == nil:
			missed = 0
		case s.isLost():
			return
		default:
			missed++
		}
	}
	s.kill("it did not answer any more and was killed")
}

// pause waits, and reports whether the server is there after it.
func (s *session) pause(d time.Duration) bool {
	select {
	case <-s.conn.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// kill ends a server that cannot be talked to.
func (s *session) kill(why string) {
	s.mu.Lock()
	if s.killed == "" {
		s.killed = why
	}
	s.mu.Unlock()
	if s.proc == nil {
		s.conn.Close() // which ends a local server
		return
	}
	_ = s.proc.Kill() // it may be dead already
}

// watchEnd ends what depends on a server that has ended. Its dead mounts stay
// until they are closed: were they cleared away now, tools that are at work in
// them would go on in the bare directory beneath, instead of failing.
func (s *session) watchEnd() {
	select {
	case <-s.exited:
	case <-s.conn.Done():
		s.awaitExit()
	}
	s.conn.Close()
	s.remoteServer().close()
	lost := ServerLostError{PID: s.pid(), Cause: s.cause()}
	s.mu.Lock()
	s.dead, s.mounts = s.mounts, map[uint64]*Mount{}
	mounts := slices.Collect(maps.Values(s.dead))
	s.mu.Unlock()
	if len(mounts) == 0 {
		s.remove()
	}
	for _, m := range mounts {
		go m.serverLost(lost)
	}
	close(s.lost)
}

// clear clears the mount away if it is a dead one, and the session with the last
// of them. The caller is the only one who closes m.
func (s *session) clear(m *Mount) {
	if !s.isDead(m) {
		return
	}
	r := host.ReadRecord(host.RecordPath(s.dir, m.id))
	if r.Path == "" {
		r.Path = ipc.Path(m.path)
	}
	serve.ClearMount(r)
	os.Remove(host.RecordPath(s.dir, m.id))
	s.mu.Lock()
	delete(s.dead, m.id)
	last := len(s.dead) == 0
	s.mu.Unlock()
	if last {
		s.remove()
	}
}

func (s *session) isDead(m *Mount) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead[m.id] != nil
}

// remove removes the session. Until then its lock keeps CleanUp away.
func (s *session) remove() {
	serve.ClearMounts(s.dir)
	host.RemoveSession(s.dir)
	s.lock.Close()
}

// awaitExit waits for a server whose connection has ended, which it is to follow
// soon.
func (s *session) awaitExit() {
	select {
	case <-s.exited:
	case <-time.After(2 * serve.DetachPatience):
		s.kill("it did not end")
		<-s.exited
	}
}

// cause says how the server ended, with its last words.
func (s *session) cause() string {
	s.mu.Lock()
	why := s.killed
	s.mu.Unlock()
	if why == "" {
		why = "exit status 0"
		var exit *exec.ExitError
		if errors.As(s.exitErr, &exit) {
			why = exit.String()
		}
	}
	b, err := os.ReadFile(filepath.Join(s.dir, host.StderrName))
	if b = bytes.TrimSpace(b); err == nil && len(b) > 0 {
		if len(b) > stderrTail {
			b = b[len(b)-stderrTail:]
		}
		why += "; it printed: " + string(b)
	}
	return why
}
