package mount

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// Close unmounts and, if the mount is marked, stores the workspace as the next revision,
// replacing exactly the one that was opened. When it returns nil for a marked mount, the
// archive is durable in the store. The archive of an emptied workspace is deleted (see
// Options.KeepEmpty); if nothing changed, the store is not asked.
//
// After ErrBusy, and if ctx ended before the mount was gone, nothing has happened and Close
// can be called again. After any other outcome the mount is over, and Close returns the
// same values again. Further errors: store.ErrConflict (a *store.ConflictError; nothing was
// stored), store.ErrUnknown, ErrCommit, ErrUnmounted, ErrServerLost; for a step that
// another attempt has committed meanwhile, a *CommittedError instead of the conflict.
func (m *Mount) Close(ctx context.Context) (Result, error) {
	select {
	case <-m.closing:
		defer func() { m.closing <- struct{}{} }()
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
	if res, err, over := m.outcome(); over {
		m.session.clear(m)
		return res, err
	}
	var reply wire.CloseReply
	if err := m.session.conn.CallToEnd(ctx, wire.CallClose, wire.MountID{ID: m.id}, &reply); err != nil {
		return m.closeLost(ctx, err)
	}
	var err error
	if len(reply.Err) > 0 {
		err = m.closeError(ctx, wire.DecodeError(reply.Err))
	}
	m.callbacks.flush()
	res := Result(reply.Result)
	if !reply.Again {
		m.finish(res, err)
	}
	return res, err
}

// decide answers the server's question once nobody uses the mount any more. A later Commit,
// Abandon or SetResult has no effect and returns an error.
func (m *Mount) decide() wire.Decision {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.decision == nil {
		m.decision = &wire.Decision{Commit: m.markedLocked(), CommitID: m.commitID, Save: m.saveTo, Redone: m.opts.Redone}
		switch {
		case m.decision.Commit:
			m.decision.Result, m.decision.Message = m.stepResult, m.message
		case m.saveTo != (store.URL{}) && !m.opts.ReadOnly:
			m.decision.Why = m.failure
		}
	}
	return *m.decision
}

// commitBegun reports whether a commit may be under way.
func (m *Mount) commitBegun() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.decision != nil && m.decision.Commit
}

// closeError restores errors that did not go through the server to the error that they
// caused there: that of Options.BeforeStore, and ctx's own cause.
func (m *Mount) closeError(ctx context.Context, err error) error {
	m.mu.Lock()
	refusal := m.refusal
	m.mu.Unlock()
	if refusal != nil {
		return fmt.Errorf("%w%w", err, hidden{refusal})
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// closeLost ends a mount whose server is gone, and finds out what became of its commit.
func (m *Mount) closeLost(ctx context.Context, err error) (Result, error) {
	err = m.callError(ctx, err)
	res := Result{Revision: m.revision, Marked: m.Marked()}
	var lost *ServerLostError
	switch {
	case !errors.As(err, &lost):
	case m.commitBegun():
		err = m.storedAfterAll(ctx, lost, &res)
	default:
		lost.Stored = "nothing was stored"
	}
	m.finish(res, err)
	m.session.clear(m)
	return res, err
}

// lostPatience limits the search for what a dead server has stored.
const lostPatience = 30 * time.Second

// storedAfterAll looks in the store for the commit of a server that died, and puts the
// outcome into lost and res. If another attempt has committed the step meanwhile, the error
// is a *CommittedError as well.
func (m *Mount) storedAfterAll(ctx context.Context, lost *ServerLostError, res *Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostPatience)
	defer cancel()
	head, log, err := m.readLog(ctx)
	step := store.Step{Origin: m.opts.Origin, Since: m.opts.Since}
	rec, sure := step.In(log)
	switch {
	case errors.Is(err, store.ErrNotExist):
		lost.Stored = "there is no stored archive"
	case err == nil && log.Has(m.commitID):
		lost.Stored = "its commit was stored"
		res.Stored, res.Revision, res.CommitID, res.Size = true, head.Revision, m.commitID, head.Size
	case rec != nil && sure:
		lost.Stored = "nothing was stored"
		return fmt.Errorf("%w: %w", lost, wire.NewCommittedError(m.url, rec, head.Revision))
	case m.revision != "" && head.Revision == m.revision && (m.url.Scheme == "file" || m.url.Scheme == "mem"):
		lost.Stored = "nothing was stored"
	case err != nil:
		lost.Stored = "its commit may have been stored: " + err.Error()
	default:
		lost.Stored = "its commit may have been stored: the last request may still arrive"
	}
	return lost
}

// readLog reads the log of the current archive and makes the archive durable, which the
// dead server may not have done.
func (m *Mount) readLog(ctx context.Context) (store.Info, *archive.Log, error) {
	st, err := store.OpenBucket(ctx, m.url)
	if err != nil {
		return store.Info{}, nil, err
	}
	defer st.Close()
	head, log, err := store.ReadLog(ctx, st, m.url.Key)
	if err != nil {
		return head, nil, err
	}
	if err := store.Sync(ctx, st, m.url.Key); err != nil {
		return head, nil, err
	}
	return head, log, nil
}

// confirm answers the server's question right before a commit becomes visible.
func (m *Mount) confirm(ctx context.Context) error {
	if !m.Marked() {
		return ErrAbandoned
	}
	if m.opts.BeforeStore == nil {
		return nil
	}
	err := m.opts.BeforeStore(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refusal = err
	return err
}

func (m *Mount) outcome() (Result, error, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.result, m.err, m.over
}

// finish makes the outcome final.
func (m *Mount) finish(res Result, err error) {
	m.mu.Lock()
	if m.over {
		m.mu.Unlock()
		return
	}
	m.over, m.result, m.err = true, res, err
	m.mu.Unlock()
	m.session.drop(m)
	close(m.done)
}

// endedByOthers ends a mount that something else has unmounted. The server is only asked to
// free what it holds.
func (m *Mount) endedByOthers() {
	<-m.opened
	m.mu.Lock()
	m.unmounted = true
	m.mu.Unlock()
	m.callbacks.run(func() {
		m.logger().Warn("the mount was ended by something else; it will not be stored", "path", m.path)
	})
	_, _ = m.Close(context.Background()) // the caller's own Close returns the same values
}

// serverLost ends a mount whose server is gone. A Close that runs comes first, since it
// finds out more; if none is running, no commit was under way.
func (m *Mount) serverLost(cause ServerLostError) {
	<-m.closing
	cause.Stored = "nothing was stored"
	m.finish(Result{Revision: m.revision}, &cause)
	m.closing <- struct{}{}
}

// hidden is an error that errors.Is and errors.As find but that adds no text.
type hidden struct{ err error }

func (hidden) Error() string { return "" }

func (h hidden) Unwrap() error { return h.err }
