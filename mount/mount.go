package mount

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// Mount is a mounted workspace. Its methods may be called from several goroutines.
type Mount struct {
	session  *session         // immutable
	id       uint64           // immutable
	url      store.URL        // immutable
	path     string           // immutable
	spill    string           // immutable; canonical, "" for none
	cache    string           // likewise
	made     bool             // immutable; the mountpoint was made for this mount and is removed with it
	opts     Options          // immutable
	revision store.Revision   // immutable after Open; what was opened
	rewound  archive.CommitID // immutable after Open; see Rewound
	warnings []string         // immutable after Open
	resumed  archive.CommitID // immutable after Open; the checkpoint with which it began
	record   host.Record      // immutable after Open, zero before; but deaden changes it, guarded by mu
	commitID archive.CommitID // immutable; of the one commit that this mount can make

	ready bool // guarded by session.mu; other processes may see it

	opened  chan struct{} // closed when open has returned
	closing chan struct{} // holds one token; its holder closes the mount
	done    chan struct{} // closed when the mount is over

	mu        sync.Mutex
	marked    bool           // guarded by mu
	abandoned bool           // guarded by mu
	refused   bool           // guarded by mu; Commit was called afterwards
	unmounted bool           // guarded by mu; by something other than Close
	message   string         // guarded by mu; for the record
	failure   string         // guarded by mu; the argument of Fail
	saveTo    store.URL      // guarded by mu; zero for none
	decision  *wire.Decision // guarded by mu; set once, when the server asks for it
	over      bool           // guarded by mu; result and err are final
	result    Result         // guarded by mu
	err       error          // guarded by mu
	watchers  []*watcher     // guarded by mu

	callbacks callbacks // the user's; has its own lock

	stepResult []byte // guarded by mu; the argument of SetResult
	refusal    error  // guarded by mu; the last error of Options.BeforeStore

	revoked sync.Once // the message to the server
}

// Open mounts the workspace of a URL; see package store for its forms. The mount shows
// exactly what the archive holds at this moment or, if there is no archive and
// Options.Presence allows that, an empty directory. The caller must call Close.
//
// Errors: store.ErrURL, store.ErrNotAllowed, store.ErrUnreachable, store.ErrNotArchive,
// store.ErrNotExist and ErrExist (see [Presence]), archive.ErrFormat, archive.ErrLimit,
// ErrLimit, ErrCannotMount, ErrNoServer, ErrServerLost, and ctx's; for a step (see
// Options.Origin), a *CommittedError if it has already taken effect, and store.ErrUnknown
// if that cannot be known. After an error nothing is mounted.
func Open(ctx context.Context, url string, opts *Options) (*Mount, error) {
	u, err := store.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return OpenURL(ctx, u, opts)
}

// OpenURL is Open for a URL that store.ParseURL has returned.
func OpenURL(ctx context.Context, u store.URL, opts *Options) (_ *Mount, err error) {
	if !utf8.ValidString(u.String()) {
		return nil, fmt.Errorf("open %q: %w: it is not UTF-8", u.Redacted(), store.ErrURL)
	}
	m := &Mount{url: u, commitID: archive.NewCommitID(), opened: make(chan struct{}), closing: make(chan struct{}, 1), done: make(chan struct{})}
	m.closing <- struct{}{}
	if opts != nil {
		m.opts = *opts
	}
	if !m.opts.ReadOnly {
		if err := u.IsVersion("open for writing"); err != nil {
			return nil, err
		}
	}
	if err := m.opts.resolveView(); err != nil {
		return nil, fmt.Errorf("open %s: %w", m.URL(), err)
	}
	if err := errors.Join(m.opts.Presence.Check(m.opts.ReadOnly), m.opts.OnConflict.Check()); err != nil {
		return nil, fmt.Errorf("open %s: %w", m.URL(), err)
	}
	if err := m.opts.checkFrom(u); err != nil {
		return nil, fmt.Errorf("open %s: from a checkpoint: %w", m.URL(), err)
	}
	if m.opts.SaveFailed != "" {
		if m.saveTo, err = parseTarget(m.opts.SaveFailed); err != nil {
			return nil, err
		}
	}
	if m.opts.Origin, err = m.origin(); err != nil {
		return nil, err
	}
	if err := m.checkAt(); err != nil {
		return nil, err
	}
	if m.session, err = getSession(ctx, m.opts.RunDir, m.opts.Plain); err != nil {
		return nil, err
	}
	err = m.open(ctx)
	m.callbacks.flush()
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Mount) open(ctx context.Context) error {
	defer close(m.opened)
	if err := m.refuseOwnStore(); err != nil {
		return err
	}
	if err := m.checkAllowed(); err != nil {
		return err
	}
	mem, err := m.memDir()
	if err != nil {
		return err
	}
	if m.spill, err = m.spillDir(); err != nil {
		return err
	}
	if m.cache, err = host.CheckDirOnDisk(m.opts.Cache, "the cache directory"); err != nil {
		return err
	}
	if err := m.prepareDir(ctx); err != nil {
		return err
	}
	m.session.add(m)
	var reply wire.OpenReply
	err = m.session.conn.CallToEnd(ctx, wire.CallOpen, m.request(mem), &reply)
	if err == nil && ctx.Err() != nil {
		_, _ = m.Close(context.WithoutCancel(ctx)) // not marked: it only unmounts
		return context.Cause(ctx)
	}
	if err != nil {
		err = m.callError(ctx, err)
		m.session.drop(m)
		m.session.clear(m)
		return err
	}
	m.revision, m.warnings, m.record, m.rewound, m.resumed = reply.Revision, reply.Warnings, reply.Record, reply.Rewound, reply.Resumed
	m.session.publish(m)
	return nil
}

// memDir returns the directory that client and server share for mem URLs; "" for other
// URLs, which need none.
func (m *Mount) memDir() (string, error) {
	if m.url.Scheme != "mem" {
		return "", nil
	}
	return store.MemDir()
}

// request returns the request to the server.
func (m *Mount) request(memDir string) wire.OpenRequest {
	grace := m.opts.Grace
	if grace == 0 {
		grace = DefaultGrace
	}
	req := wire.OpenRequest{
		ID: m.id, URL: m.url, MemDir: ipc.Path(memDir), Dir: ipc.Path(m.path), Made: m.made, Source: mountpointName(m.url),
		UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
		MustExist: m.opts.Presence.resolve(m.opts.ReadOnly) == MustExist, MustBeNew: m.opts.Presence == MustBeNew,
		View: m.opts.View, Without: m.opts.without, KeepEmpty: m.opts.KeepEmpty, Merge: m.opts.OnConflict == Merge && m.opts.Presence != MustBeNew, Keep: m.opts.Keep, Portable: m.opts.Portable, Flags: m.flags(),
		MaxBytes: m.opts.MaxBytes, MaxInodes: m.opts.MaxInodes, Spill: ipc.Path(m.spill), SpillReserve: m.opts.SpillReserve,
		Cache: ipc.Path(m.cache), CacheBytes: max(0, m.opts.CacheBytes), FetchAll: m.opts.FetchAll, GraceNS: int64(grace),
		Origin: m.opts.Origin, Since: m.opts.Since, Rewind: m.opts.Rewind, Command: m.opts.Command[:min(len(m.opts.Command), archive.MaxMessage)],
		FromCheckpoint: m.opts.FromCheckpoint,
	}
	if o := m.opts.Owner; o != nil {
		req.KeepOwner = o.Keep
		if !o.Keep {
			req.UID, req.GID = o.UID, o.GID
		}
	}
	return req
}

func (m *Mount) flags() host.Flags {
	return host.Flags{ReadOnly: m.opts.ReadOnly, AllowOther: m.opts.AllowOther, Suid: m.opts.Suid, Dev: m.opts.Dev}
}

// callError translates the end of the connection, and returns ctx's own cause if that was
// the reason.
func (m *Mount) callError(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case <-m.session.conn.Done():
		<-m.session.lost
		return &ServerLostError{PID: m.session.pid(), Cause: m.session.cause()}
	default:
		return err
	}
}

// Path returns a path inside the mountpoint; without elements, the mountpoint.
func (m *Mount) Path(elem ...string) string {
	return filepath.Join(append([]string{m.path}, elem...)...)
}

// URL returns the workspace's URL in canonical form, without secrets.
func (m *Mount) URL() string { return m.url.Redacted() }

// Device returns the mount's device number, "major:minor", as in /proc/PID/mountinfo; ""
// for a plain workspace.
func (m *Mount) Device() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record.Dev
}

// Revision returns the revision that was opened; empty if there was no archive.
func (m *Mount) Revision() store.Revision { return m.revision }

// Rewound returns the commit whose archive the mount shows in place of the newest one, see
// Options.Rewind: archive.NoArchive if it shows no archive; "" if it shows the newest one.
func (m *Mount) Rewound() archive.CommitID { return m.rewound }

// Warnings returns what was unusual about the archive that was opened.
func (m *Mount) Warnings() []string { return m.warnings }

// Done is closed when the mount is over: closed for good, unmounted by something else,
// or its server lost. In the last case tools get ENOTCONN until Close clears the dead
// mount away.
func (m *Mount) Done() <-chan struct{} { return m.done }

// Commit marks the workspace to be stored by Close, even by a Close that is still
// unmounting. It writes nothing itself, and a mount that is never marked leaves the stored
// archive as it was. ErrReadOnly, ErrAbandoned, ErrUnmounted, ErrClosed.
func (m *Mount) Commit() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.opts.ReadOnly:
		return fmt.Errorf("commit %s: %w", m.path, ErrReadOnly)
	case m.abandoned:
		m.refused = true
		return fmt.Errorf("commit %s: %w", m.path, ErrAbandoned)
	case m.unmounted:
		return fmt.Errorf("commit %s: %w", m.path, ErrUnmounted)
	case m.over && errors.Is(m.err, ErrServerLost):
		return fmt.Errorf("commit %s: %w%w", m.path, m.err, hidden{ErrClosed})
	case m.over, m.decision != nil && !m.decision.Commit:
		return fmt.Errorf("commit %s: %w", m.path, ErrClosed)
	}
	m.marked = true
	return nil
}

// Refused reports whether Commit was called after the mount was abandoned or revoked: the
// work was meant to be stored and will not be.
func (m *Mount) Refused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused
}

// Marked reports whether Close will store the workspace: it is marked, and neither
// abandoned nor read-only.
func (m *Mount) Marked() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.markedLocked()
}

func (m *Mount) markedLocked() bool { return m.marked && !m.abandoned && !m.opts.ReadOnly }

// Abandon takes the mark back for good: the mount stores nothing any more, unless its last
// request is already on the way.
func (m *Mount) Abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.abandoned = true
}

// parseTarget parses the URL of a workspace that is to be written.
func parseTarget(url string) (store.URL, error) {
	u, err := store.ParseURL(url)
	if err == nil {
		err = u.IsVersion("save to")
	}
	if err == nil {
		err = store.CheckDriver(u)
	}
	return u, err
}

// SetMessage sets the message in the record of the commit. ErrLimit beyond
// archive.MaxMessage bytes, ErrClosed if it comes too late.
func (m *Mount) SetMessage(text string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkRecordedLocked("message", len(text), archive.MaxMessage); err != nil {
		return err
	}
	m.message = text
	return nil
}

// checkRecordedLocked refuses a part of the record that comes too late or has more than most
// bytes.
// Preconditions: m.mu is held.
func (m *Mount) checkRecordedLocked(what string, bytes, most int) error {
	switch {
	case m.over, m.decision != nil:
		return fmt.Errorf("set %s %s: %w", what, m.path, ErrClosed)
	case bytes > most:
		return fmt.Errorf("set %s %s: %w: %d bytes, at most %d are kept", what, m.path, ErrLimit, bytes, most)
	}
	return nil
}

// Fail is Abandon with a reason: if Options.SaveFailed is set, Close saves the work there.
func (m *Mount) Fail(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.abandoned, m.failure = true, why
}

// saveAt makes Close save the work as another workspace and not store it.
func (m *Mount) saveAt(u store.URL) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over || m.decision != nil {
		return fmt.Errorf("save %s: %w", m.path, ErrClosed)
	}
	m.abandoned, m.saveTo, m.failure = true, u, "it was unmounted to another workspace"
	return nil
}

// Abandoned reports whether Abandon or Revoke was called.
func (m *Mount) Abandoned() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.abandoned
}

// SetResult sets the result of the step of Options.Origin. It is kept with the commit, for
// later attempts of the step; without a step it is not kept. ErrLimit beyond
// archive.MaxResult bytes, ErrClosed if it comes too late.
func (m *Mount) SetResult(p []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.checkRecordedLocked("result", len(p), archive.MaxResult); err != nil {
		return err
	}
	m.stepResult = slices.Clone(p)
	return nil
}

// Status asks the server about the mount.
func (m *Mount) Status(ctx context.Context) (Status, error) {
	var st wire.Status
	if err := m.session.conn.Call(ctx, wire.CallStatus, wire.MountID{ID: m.id}, &st); err != nil {
		return Status{}, m.callError(ctx, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return Status{
		URL: m.URL(), Path: m.path, RawPath: RawPath(m.path), ReadOnly: m.opts.ReadOnly,
		Marked: m.marked, Abandoned: m.abandoned, View: st.View, ViewReason: st.ViewReason, State: st.State, Revision: st.Revision,
		ReadError: st.ReadError, Base: (*BaseStatus)(st.Base), Changes: st.Changes,
		Bytes: st.Bytes, Inodes: st.Inodes, MaxBytes: st.MaxBytes, MaxInodes: st.MaxInodes,
		ServerPID: st.ServerPID, ClientPID: os.Getpid(), Opened: st.Opened, Requests: st.Requests, Traffic: st.Traffic, Origin: m.worker(),
	}, nil
}

// worker returns whose work it is; nil where that is not known.
func (m *Mount) worker() *archive.Origin {
	if o := m.opts.Origin; o.Execution != "" || o.WorkflowID != "" {
		return &o
	}
	return nil
}

func (m *Mount) logger() *slog.Logger {
	if m.opts.Logger != nil {
		return m.opts.Logger
	}
	return slog.Default()
}
