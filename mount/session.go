package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/serve"
	"github.com/workdir/workdir/mount/internal/wire"
)

// session is one server process as its client sees it.
type session struct {
	dir    string        // immutable; the session directory
	runDir string        // immutable
	ping   time.Duration // immutable; pingInterval
	lock   *os.File      // immutable; held as long as this process lives
	conn   *ipc.Conn
	proc   *os.Process   // nil for a local server
	remote *remoteServer // guarded by mu; answers commands of other processes; nil until then

	lost    chan struct{} // closed when the server is gone and its mounts are marked as dead
	exited  chan struct{} // closed when the process has been reaped
	exitErr error         // the result of Wait; read after exited

	callbacks callbacks // for calls that concern no mount; has its own lock
	lists     lists     // likewise

	taking chan struct{} // immutable; holds a token while a mountpoint is taken

	mu     sync.Mutex
	killed string            // guarded by mu; why this process killed it
	nextID uint64            // guarded by mu
	mounts map[uint64]*Mount // guarded by mu
	dead   map[uint64]*Mount // guarded by mu; mounts of a lost server that are not closed yet
}

// sessions are the servers of this process. The mutex is held only to look into the map:
// starting or ending a server takes its slot instead, so that it does not delay callers
// that need another server.
var sessions = struct {
	sync.Mutex
	all map[sessionKey]*slot
}{all: map[sessionKey]*slot{}}

// slot is the place of one server.
type slot struct {
	turn chan struct{} // holds one token: its holder reads s, starts it or ends it
	s    *session      // guarded by turn; nil before the first server, and after one was ended
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

// getSession returns the server for a run directory, and starts it if there is none. The
// server of plain workspaces needs neither FUSE nor a process. ErrCannotMount, ErrNoServer.
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

// StartOptions are the mount options that StartWith uses. nil means the zero value.
type StartOptions struct {
	RunDir string // as Options.RunDir
	Plain  bool   // as Options.Plain: neither FUSE nor a server process is needed
}

// Start is StartWith without options.
func Start(ctx context.Context) error { return StartWith(ctx, nil) }

// StartWith checks that this host allows the mounts that will be opened with opts, and
// starts their server process now rather than at the first Open, so that a program that
// cannot work reports it when it begins. It may be called again. Errors: ErrCannotMount,
// ErrNoServer, ctx's.
func StartWith(ctx context.Context, opts *StartOptions) error {
	var o StartOptions
	if opts != nil {
		o = *opts
	}
	_, err := getSession(ctx, o.RunDir, o.Plain)
	return err
}

// checkHost reports what this host lacks, before anything is tried.
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

// Stop ends the server processes of this program that have no open mount, after they have
// answered pending commands of other processes. A program that just exits need not call it:
// its servers end with it.
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

// handle answers calls of the server.
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
	case wire.CallChanged:
		return struct{}{}, s.lists.deliver(ctx, body)
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

// watchEnd ends everything that depends on a server that has ended. Its dead mounts stay
// until they are closed: if they were cleared away now, tools at work in them would go on
// in the bare directory below, instead of failing.
func (s *session) watchEnd() {
	select {
	case <-s.exited:
	case <-s.conn.Done():
		s.awaitExit()
	}
	s.conn.Close()
	lost := ServerLostError{PID: s.pid(), Cause: s.cause()}
	s.mu.Lock()
	s.dead, s.mounts = s.mounts, map[uint64]*Mount{}
	mounts := slices.Collect(maps.Values(s.dead))
	s.mu.Unlock()
	if len(mounts) == 0 {
		s.remove()
	}
	for _, m := range mounts {
		s.deaden(m)
		go m.serverLost(lost)
	}
	close(s.lost)
}

// remove removes the session. Until then its lock keeps CleanUp away.
func (s *session) remove() {
	s.remoteServer().close()
	serve.ClearMounts(s.dir)
	host.RemoveSession(s.dir)
	s.lock.Close()
}
