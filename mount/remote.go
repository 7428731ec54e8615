package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// Calls of a command in another process to the client that owns a mount.
const (
	remoteCommit  = "remote-commit"
	remoteAbandon = "remote-abandon"
	remoteStatus  = "remote-status"
	remoteChanges = "remote-changes" // answered by calls of wire.CallChanged
	remoteClose   = "remote-close"
	remoteList    = "remote-list"
	remoteFind    = "remote-find" // is this mount yours?

	remoteCheckpoint = "remote-checkpoint"
)

// remoteRequest names a mount by its identity, see record.identity, and by its number:
// another mount may have the identity of one that is gone.
type remoteRequest struct {
	Protocol int      `json:"protocol"`
	ID       uint64   `json:"id"`
	Mount    string   `json:"mount"`
	Path     ipc.Path `json:"path"` // for messages

	Message string `json:"message,omitempty"` // of a commit or checkpoint
	To      string `json:"to,omitempty"`      // a URL, of a close
}

// remoteServer answers other processes of the same user, and of root.
type remoteServer struct {
	session  *session
	listener *net.UnixListener

	mu    sync.Mutex
	conns map[*ipc.Conn]bool // guarded by mu
}

// startRemote listens for commands until the server is lost and its last dead mount is
// closed.
func (s *session) startRemote() error {
	r, err := s.serveRemote()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.remote = r
	s.mu.Unlock()
	if s.isLost() { // meanwhile; so nobody may have closed it
		r.close()
	}
	return nil
}

// remoteServer may be nil; its methods then do nothing.
func (s *session) remoteServer() *remoteServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.remote
}

func (s *session) serveRemote() (*remoteServer, error) {
	dir, err := os.Open(s.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	l, err := net.ListenUnix("unix", host.SocketAddr(dir))
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // its name is relative to a descriptor that will be closed
	r := &remoteServer{session: s, listener: l, conns: map[*ipc.Conn]bool{}}
	go r.acceptLoop()
	return r, nil
}

// Limits of the pause after a connection that could not be accepted. The cause may pass:
// the program has no descriptor left, or the machine no memory.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// acceptLoop accepts connections until the listener is closed.
func (r *remoteServer) acceptLoop() {
	pause := minAcceptPause
	for {
		nc, err := r.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if pause == minAcceptPause {
				slog.Default().Warn("commands of other processes are kept waiting", "cause", err)
			}
			if !r.session.pause(pause) {
				return
			}
			pause = min(2*pause, maxAcceptPause)
			continue
		}
		pause = minAcceptPause
		if !allowedPeer(nc) {
			_ = nc.Close() // nothing was sent
			continue
		}
		r.mu.Lock()
		c := ipc.New(nc, r.handle, wire.Codec)
		r.conns[c] = true
		r.mu.Unlock()
		go func() {
			<-c.Done()
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.conns, c)
		}()
	}
}

// allowedPeer lets in the same user and root (SO_PEERCRED, unix(7)). The mode of the
// directory already keeps others out.
func allowedPeer(nc *net.UnixConn) bool {
	raw, err := nc.SyscallConn()
	if err != nil {
		return false
	}
	allowed := false
	err = raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		allowed = err == nil && (cred.Uid == 0 || int(cred.Uid) == os.Geteuid())
	})
	return err == nil && allowed
}

// drain waits until every command that has arrived is answered.
func (r *remoteServer) drain(ctx context.Context) {
	if r == nil {
		return
	}
	r.mu.Lock()
	conns := make([]*ipc.Conn, 0, len(r.conns))
	for c := range r.conns {
		conns = append(conns, c)
	}
	r.mu.Unlock()
	for _, c := range conns {
		c.Drain(ctx)
	}
}

func (r *remoteServer) close() {
	if r != nil {
		r.listener.Close()
	}
}

func (r *remoteServer) handle(ctx context.Context, c *ipc.Conn, method string, body json.RawMessage) (out any, err error) {
	defer func() { panics.Log(slog.Default(), err) }()
	defer panics.Catch(method, &err)
	req, err := wire.Decode[remoteRequest](body)
	if err != nil {
		return nil, err
	}
	if req.Protocol != wire.Version {
		return nil, fmt.Errorf("the mount's owner speaks version %d of the protocol and this command version %d; use the owner's version of workdir-mount", wire.Version, req.Protocol)
	}
	if method == remoteList {
		return r.list(ctx)
	}
	m, err := r.session.byIdentity(req)
	if err != nil {
		return nil, err
	}
	switch method {
	case remoteFind:
		return struct{}{}, nil
	case remoteCommit:
		if req.Message != "" {
			if err := m.SetMessage(req.Message); err != nil {
				return nil, err
			}
		}
		return struct{}{}, m.Commit()
	case remoteAbandon:
		m.Abandon()
		return struct{}{}, nil
	case remoteStatus:
		return m.statusOrLost(ctx)
	case remoteChanges:
		return struct{}{}, m.sendChanges(ctx, func(ctx context.Context, some []wire.Change) error {
			return c.Call(ctx, wire.CallChanged, wire.SomeChanges{Changes: some}, nil)
		})
	case remoteCheckpoint:
		return m.CheckpointWith(ctx, req.Message)
	case remoteClose:
		if req.To != "" {
			u, err := parseTarget(req.To)
			if err == nil {
				err = m.saveAt(u)
			}
			if err != nil {
				return nil, err
			}
		}
		return r.closeMount(ctx, c, m), nil
	}
	return nil, fmt.Errorf("unknown call %q", method)
}

func (r *remoteServer) list(ctx context.Context) ([]Status, error) {
	var out []Status
	for _, m := range r.session.all() {
		st, err := m.statusOrLost(ctx)
		if errors.Is(err, ErrClosed) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// closeMount closes a mount for another process and reports the progress to it.
func (r *remoteServer) closeMount(ctx context.Context, c *ipc.Conn, m *Mount) wire.CloseReply {
	defer m.watch(func(p Progress) { c.Notify(wire.NoteProgress, wire.ProgressNote{Progress: wire.Progress(p)}) })()
	res, err := m.Close(ctx)
	reply := wire.CloseReply{Result: wire.Result(res)}
	if err != nil {
		reply.Err = wire.EncodeError(err)
	}
	return reply
}

// Remote is a mount of another process, for commands.
type Remote struct {
	record  host.Record // immutable; of the mount; zero for calls about the session as a whole
	session string      // immutable; the owner's session directory
}

// Find finds the mount that contains a path, and the process that owns it: the mount that
// is there now, in the caller's mount namespace, whatever else was recorded for that path.
// runDir is the owner's run directory ("": the usual places of the user who mounted or, for
// a plain workspace, of the caller). It works for the owner's user and for root.
// ErrNotMounted; ErrServerLost if the owner is gone.
func Find(ctx context.Context, path, runDir string) (*Remote, error) {
	abs, err := absolute(path)
	if err != nil {
		return nil, err
	}
	if r, err := owned(ctx, plainAt(abs, runDir)); r != nil || err != nil {
		return r, err
	}
	table, err := host.MountTable("self")
	if err != nil {
		return nil, &HostError{Path: path, What: "read the mount table: " + err.Error(), Hint: "is /proc mounted?"}
	}
	e, err := findMount(table, abs)
	if err != nil {
		if real, evalErr := filepath.EvalSymlinks(abs); evalErr == nil && real != abs {
			if r, ownedErr := owned(ctx, plainAt(real, runDir)); r != nil || ownedErr != nil {
				return r, ownedErr
			}
		}
		return nil, err
	}
	dirs := []string{runDir}
	search := dirs
	if runDir == "" {
		uid, _ := e.UID() // every FUSE mount has one
		dirs = host.RunDirs(uid)
		search = host.OwnedBy(uid, dirs)
	}
	r, err := owned(ctx, mountsOf(e, search))
	if r == nil && err == nil {
		err = fmt.Errorf("%s: %w that can be reached: no record of it in %v; was it mounted with another --run-dir, by another user, or in a container?", e.Path, ErrNotMounted, dirs)
	}
	return r, err
}

// mountsOf returns the mounts that are recorded with the device of e: one, unless a process
// was killed and left its record, and the kernel has used the number again.
func mountsOf(e host.MountEntry, runDirs []string) []*Remote {
	var found []*Remote
	for _, dir := range runDirs {
		for _, session := range host.SessionDirs(dir) {
			for _, r := range host.Records(session) {
				if r.Dev == e.Dev {
					found = append(found, &Remote{record: r, session: session})
				}
			}
		}
	}
	return found
}

// plainAt returns the plain workspaces that contain a path according to their records. They
// are not in the mount table.
func plainAt(abs, runDir string) []*Remote {
	var found []*Remote
	for _, session := range host.SessionsIn(runDir) {
		for _, r := range host.Records(session) {
			if !r.Plain || !host.Within(abs, string(r.Path)) {
				continue
			}
			if id, err := host.DirIDOf(string(r.Path)); err == nil && id == r.Dir {
				found = append(found, &Remote{record: r, session: session})
			}
		}
	}
	return found
}

// owned returns the candidate whose owner says that the mount is its own. nil without an
// error: there are no candidates.
func owned(ctx context.Context, candidates []*Remote) (*Remote, error) {
	var err error
	for _, r := range candidates {
		if err = r.ask(ctx, remoteFind, nil); err == nil {
			return r, nil
		}
	}
	return nil, err
}

// findMount finds our mount that contains a path: first the path as it is written, which
// touches nothing, then with its links resolved.
func findMount(table []host.MountEntry, abs string) (host.MountEntry, error) {
	if e, ok := host.MountOf(table, abs); ok && e.IsOurs() {
		return e, nil
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		if e, ok := host.MountOf(table, real); ok && e.IsOurs() {
			return e, nil
		}
	}
	return host.MountEntry{}, fmt.Errorf("%s: %w; see workdir-mount status", abs, ErrNotMounted)
}

// absolute is filepath.Abs without a request to the file system, which may be a mount whose
// server does not answer.
func absolute(path string) (string, error) {
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	wd, err := unix.Getwd()
	if err != nil {
		return "", fmt.Errorf("%s: working directory: %w", path, err)
	}
	return filepath.Join(wd, path), nil
}

// Path returns the mountpoint.
func (r *Remote) Path() string { return string(r.record.Path) }

// Commit marks the mount as Mount.Commit does.
func (r *Remote) Commit(ctx context.Context) error { return r.call(ctx, remoteCommit, nil, nil) }

// CommitWith marks the mount and sets a message as Mount.SetMessage does.
func (r *Remote) CommitWith(ctx context.Context, message string) error {
	return r.send(ctx, remoteCommit, remoteRequest{Message: message}, nil, nil)
}

// Abandon takes the mark back as Mount.Abandon does.
func (r *Remote) Abandon(ctx context.Context) error { return r.call(ctx, remoteAbandon, nil, nil) }

// Status returns the status of the mount.
func (r *Remote) Status(ctx context.Context) (Status, error) {
	var st Status
	err := r.ask(ctx, remoteStatus, &st)
	return st, err
}

// Close closes the mount as Mount.Close does in its owner. progress may be nil.
func (r *Remote) Close(ctx context.Context, progress func(Progress)) (Result, error) {
	return r.close(ctx, remoteRequest{}, progress)
}

func (r *Remote) close(ctx context.Context, req remoteRequest, progress func(Progress)) (Result, error) {
	var reply wire.CloseReply
	if err := r.send(ctx, remoteClose, req, &reply, progress); err != nil {
		return Result{}, err
	}
	if len(reply.Err) > 0 {
		return Result(reply.Result), wire.DecodeError(reply.Err)
	}
	return Result(reply.Result), nil
}

// CloseTo closes the mount and stores its work as another workspace instead of its own.
// Result.Saved is that workspace.
func (r *Remote) CloseTo(ctx context.Context, url string, progress func(Progress)) (Result, error) {
	u, err := parseTarget(url)
	if err != nil {
		return Result{}, err
	}
	return r.close(ctx, remoteRequest{To: u.String()}, progress)
}

// call sends one request to the owner.
func (r *Remote) call(ctx context.Context, method string, out any, progress func(Progress)) error {
	return r.send(ctx, method, remoteRequest{}, out, progress)
}

// send is call with more in the request.
func (r *Remote) send(ctx context.Context, method string, req remoteRequest, out any, progress func(Progress)) error {
	var news callbacks
	defer news.flush()
	return r.exchange(ctx, method, req, out, func(_ context.Context, method string, body json.RawMessage) error {
		if note, err := wire.Decode[wire.ProgressNote](body); err == nil && method == wire.NoteProgress && progress != nil {
			news.runLatest(func() { progress(Progress(note.Progress)) })
		}
		return nil
	})
}

// exchange sends one request to the owner. heard gets what the owner sends before the
// answer.
func (r *Remote) exchange(ctx context.Context, method string, req remoteRequest, out any, heard func(ctx context.Context, method string, body json.RawMessage) error) error {
	dir, err := os.Open(r.session)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", r.record.Path, ErrServerLost, err)
	}
	defer dir.Close()
	nc, err := net.DialUnix("unix", nil, host.SocketAddr(dir))
	if errors.Is(err, unix.EAGAIN) { // too many are waiting already
		return errSilent
	}
	if err != nil {
		return fmt.Errorf("%s: %w: nobody answers for it: %w", r.record.Path, ErrServerLost, err)
	}
	c := ipc.New(nc, func(ctx context.Context, _ *ipc.Conn, method string, body json.RawMessage) (any, error) {
		return struct{}{}, heard(ctx, method, body)
	}, wire.Codec)
	defer c.Close()
	req.Protocol, req.ID, req.Mount, req.Path = wire.Version, r.record.ID, r.record.Identity(), r.record.Path
	err = c.Call(ctx, method, req, out)
	if errors.Is(err, ipc.ErrClosed) {
		return fmt.Errorf("%s: %w: its owner ended", r.record.Path, ErrServerLost)
	}
	return err
}

// answerPatience is how long the owner of a mount may take to answer a call that changes
// nothing. An owner that takes longer is stopped, or has no descriptor left.
var answerPatience = 5 * time.Second // another one in a test

// errSilent: the owner of a mount does not answer.
var errSilent = errors.New("the owner does not answer")

// ask is call for a request that changes nothing. ErrServerLost and errSilent if the owner
// does not answer in time.
func (r *Remote) ask(ctx context.Context, method string, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerPatience, errSilent)
	defer cancel()
	err := r.call(ctx, method, out, nil)
	if errors.Is(err, errSilent) {
		return fmt.Errorf("%s: %w: its owner, process %d, does not answer: it is stopped, or has no descriptor left%w",
			r.record.Path, ErrServerLost, host.ClientOf(r.session), hidden{errSilent})
	}
	return err
}
