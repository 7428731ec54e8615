package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// server holds the trees and answers FUSE. It serves one client and ends with it. Usually
// it is a process of its own; for plain workspaces it runs in the client, see
// session.startLocal.
type server struct {
	conn  *ipc.Conn
	lock  *os.File // immutable; the session's lock
	local bool     // immutable; it is in its client's process, which outlives it

	mu      sync.Mutex
	session string             // guarded by mu; set by hello
	hosted  map[uint64]*hosted // guarded by mu
	ending  bool               // guarded by mu; the client is gone, no mount may be made
	spills  map[ipc.Path]bool  // guarded by mu; the recorded directories, see noteSpill

	budget  budget         // has its own lock
	sharing sharing        // likewise
	bases   bases          // likewise
	freeing sync.WaitGroup // freeing of closed mounts
}

// Main serves the client at the other end of descriptor 3 until it is gone. It returns the
// exit code of the process.
func Main() int {
	// These signals are meant for the client, which decides about its mounts.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	sock := os.NewFile(wire.SocketFD, "client")
	nc, err := net.FileConn(sock)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: for internal use: %v\n", wire.ServerName, err)
		return 1
	}
	sock.Close()
	syscall.CloseOnExec(wire.LockFD)
	s := newServer(os.NewFile(wire.LockFD, host.LockName))
	go host.TrimWhenQuiet(context.Background()) // until the process ends
	s.serve(nc)
	return 0
}

// Here serves the client at the other end of nc, which is this process, until it is gone.
// lock is the session's.
func Here(nc net.Conn, lock *os.File) {
	s := newServer(lock)
	s.local = true
	s.serve(nc)
}

func newServer(lock *os.File) *server {
	s := &server{hosted: map[uint64]*hosted{}, lock: lock}
	s.budget.limit(host.MemoryLimit())
	s.bases = bases{cache: newReadCache(s.budget.cacheBytes()), failed: s.baseFailed}
	return s
}

// serve serves the client at the other end of nc until it is gone.
func (s *server) serve(nc net.Conn) {
	ready := make(chan struct{})
	s.conn = ipc.New(nc, func(ctx context.Context, _ *ipc.Conn, method string, body json.RawMessage) (any, error) {
		<-ready
		return s.handle(ctx, method, body)
	}, wire.Codec)
	close(ready)
	<-s.conn.Done()
	s.end()
}

// end detaches every mount, stores nothing, and removes the session.
func (s *server) end() {
	s.mu.Lock()
	s.ending = true
	session := s.session
	all := make([]*hosted, 0, len(s.hosted))
	for _, h := range s.hosted {
		all = append(all, h)
	}
	s.mu.Unlock()
	for _, h := range all {
		h.detach()
	}
	// Spill directories do not disappear with the process. CleanUp removes those that are
	// left, with the session.
	if freed := s.awaitFreed(); session != "" && (freed || !s.spilled()) {
		host.RemoveSession(session)
	}
	if !s.local {
		_ = store.RemoveMem() // the client's, if it is gone; otherwise it stays
	}
}

// spilled reports whether the session has had spill directories.
func (s *server) spilled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.spills) > 0
}

// noteSpill records a directory in which a spill directory is about to be made, for the
// process that may have to clear it away.
func (s *server) noteSpill(dir ipc.Path) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if dir == "" || s.spills[dir] {
		return nil
	}
	name := fmt.Sprintf("spill-%d.json", len(s.spills)+1)
	if err := host.WriteRecordFile(filepath.Join(s.session, host.RecordsName, name), host.Record{Spill: dir}); err != nil {
		return &host.Error{Path: string(dir), What: "write the record of the spill directory: " + err.Error()}
	}
	if s.spills == nil {
		s.spills = map[ipc.Path]bool{}
	}
	s.spills[dir] = true
	return nil
}

// awaitFreed waits a moment until everything of closed mounts is freed, and reports whether
// it is. A copy of a mount in another namespace may prevent that forever.
func (s *server) awaitFreed() bool {
	freed := make(chan struct{})
	go func() {
		s.freeing.Wait()
		close(freed)
	}()
	select {
	case <-freed:
		return true
	case <-time.After(endPatience):
		return false
	}
}

// sessionDir returns the directory of the records of the mounts.
func (s *server) sessionDir() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

func (s *server) handle(ctx context.Context, method string, body json.RawMessage) (out any, err error) {
	defer func() { panics.Log(s.log(body), err) }()
	defer panics.Catch(method, &err)
	switch method {
	case wire.CallHello:
		return s.hello(body)
	case wire.CallPing:
		return struct{}{}, nil
	case wire.CallOpen:
		return s.open(ctx, body)
	case wire.CallClose:
		return s.close(ctx, body)
	case wire.CallStatus:
		return s.status(body)
	case wire.CallChanges:
		return struct{}{}, s.changes(ctx, body)
	case wire.CallCheckpoint:
		return s.checkpoint(ctx, body)
	case wire.CallRevoke:
		return struct{}{}, s.revoke(body)
	}
	return nil, fmt.Errorf("unknown call %q", method)
}

func (s *server) hello(body json.RawMessage) (any, error) {
	req, err := wire.Decode[wire.HelloRequest](body)
	if err != nil {
		return nil, err
	}
	if req.Protocol != wire.Version {
		return nil, fmt.Errorf("%w: the server speaks version %d of the protocol and its client version %d; install one version of both", wire.ErrNoServer, wire.Version, req.Protocol)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session = string(req.Session)
	store.Remember(filepath.Dir(s.session))
	return wire.HelloReply{Protocol: wire.Version, PID: os.Getpid()}, nil
}

// log returns the client's log for the mount that a call concerns.
func (s *server) log(body json.RawMessage) *slog.Logger {
	id, _ := wire.Decode[wire.MountID](body) // 0 is the server itself
	return slog.New(noteHandler{server: s, id: id.ID})
}

// find returns a mount by number.
func (s *server) find(body json.RawMessage) (*hosted, error) {
	req, err := wire.Decode[wire.MountID](body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hosted[req.ID]
	if h == nil {
		return nil, wire.ErrClosed
	}
	return h, nil
}

func (s *server) open(ctx context.Context, body json.RawMessage) (any, error) {
	req, err := wire.Decode[wire.OpenRequest](body)
	if err != nil {
		return nil, err
	}
	if req.MemDir != "" {
		store.SetMemDir(string(req.MemDir))
	}
	h := newHosted(s, req)
	if err := s.add(h); err != nil {
		h.discard()
		return nil, err
	}
	if err := h.open(ctx); err != nil {
		s.remove(h)
		return nil, err
	}
	return wire.OpenReply{Revision: h.info.Revision, Warnings: h.warnings.list(), Record: h.record, Rewound: h.rewound, Resumed: h.resumed.id()}, nil
}

// add registers a mount before it is made, so that it cannot be missed when the client goes
// away.
func (s *server) add(h *hosted) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return wire.ErrClosed
	}
	s.hosted[h.req.ID] = h
	return nil
}

func (s *server) remove(h *hosted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hosted, h.req.ID)
}

func (s *server) close(ctx context.Context, body json.RawMessage) (any, error) {
	h, err := s.find(body)
	if err != nil {
		return nil, err
	}
	res, err := h.close(ctx)
	panics.Log(s.log(body), err) // the reply below has no error
	reply := wire.CloseReply{Result: res, Again: mayCloseAgain(err)}
	if !reply.Again {
		s.remove(h)
	}
	if err != nil {
		reply.Err = wire.EncodeError(err)
	}
	return reply, nil
}

func (s *server) status(body json.RawMessage) (any, error) {
	h, err := s.find(body)
	if err != nil {
		return nil, err
	}
	return h.status(), nil
}

func (s *server) checkpoint(ctx context.Context, body json.RawMessage) (any, error) {
	req, err := wire.Decode[wire.CheckpointRequest](body)
	if err != nil {
		return nil, err
	}
	h, err := s.find(body)
	if err != nil {
		return nil, err
	}
	return h.checkpoint(ctx, &req)
}

func (s *server) revoke(body json.RawMessage) error {
	h, err := s.find(body)
	if err == nil {
		h.revoke()
	}
	return err
}

// note sends a message of a mount to the client's log. It never waits.
func (s *server) note(id uint64, level slog.Level, message string, attrs ...[2]string) {
	s.conn.Notify(wire.NoteLog, wire.LogNote{ID: id, Level: level, Message: message, Attrs: attrs})
}

// baseFailed tells all mounts on a base that it cannot be read.
func (s *server) baseFailed(b *base, err error) {
	s.mu.Lock()
	var all []*hosted
	for _, h := range s.hosted {
		all = append(all, h)
	}
	s.mu.Unlock()
	for _, h := range all {
		h.whileOpen(func(string) {
			if h.base == b {
				slog.New(noteHandler{server: s, id: h.req.ID}).Error("what was opened cannot be read, tools get EIO", "error", err)
			}
		})
	}
}
