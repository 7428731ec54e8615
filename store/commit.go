package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/workdir/workdir/archive"
)

// CommitRequest is one commit of a workspace.
type CommitRequest struct {
	Replace Revision         // the revision that was opened; empty for none
	ID      archive.CommitID // of the commit, which is in what Write writes; empty where there is no log to look at
	Write   func(io.Writer) error
	Delete  bool                        // remove the archive instead; Write is not called
	Before  func(context.Context) error // as PutOptions.Before; may be nil
}

// commitTries is how often a write is sent whose answer was lost, and
// commitPause how long Commit waits after the first; the pause doubles.
const (
	commitTries = 8
	commitPause = 100 * time.Millisecond
)

// Commit stores the successor of one revision, or removes it, exactly once: a
// write whose answer was lost (ErrUnknown) is sent again, the same bytes under
// the same condition, until the answer is definite. A conflict may then be with
// our own earlier try, so the log of the archive that is there is looked at for
// the id of this commit.
//
// Where the commit is in that log it is done, and Commit returns nil: with the
// Info of the archive, or, where other commits came on top of ours meanwhile,
// with an Info that has a Key and nothing else. So does a removal, and a
// removal of what is not there where nothing was opened.
//
// Errors: ErrConflict, where nothing was stored; ErrUnknown, where the store
// gave no definite answer in several tries or before ctx ended, or answered with
// something from which nobody can tell; those of Store.Put and Store.Delete
// otherwise, and then nothing was stored.
func Commit(ctx context.Context, s Store, key string, c *CommitRequest) (Info, error) {
	m := commit{store: s, key: key, req: c}
	pause := commitPause
	for range commitTries {
		info, err := m.send(ctx)
		if !errors.Is(err, ErrUnknown) {
			return m.settle(ctx, info, err)
		}
		m.lost = err
		select {
		case <-ctx.Done():
			return Info{}, m.unknown(ContextError(ctx))
		case <-time.After(pause):
		}
		pause *= 2
	}
	return Info{}, m.unknown(fmt.Errorf("no definite answer in %d tries", commitTries))
}

// commit is the state of one Commit.
type commit struct {
	store Store
	key   string
	req   *CommitRequest
	lost  error // of the last try whose answer was lost; nil if there was none
}

func (m *commit) send(ctx context.Context) (Info, error) {
	if !m.req.Delete {
		return m.store.Put(ctx, m.key, m.req.Write, &PutOptions{Replace: m.req.Replace, Before: m.req.Before})
	}
	return Info{Key: m.key}, m.store.Delete(ctx, m.key, m.req.Replace, m.req.Before)
}

// settle gives the outcome of the commit from a definite answer to its last try.
func (m *commit) settle(ctx context.Context, info Info, err error) (Info, error) {
	switch {
	case err == nil:
		return info, nil
	case m.req.Delete && errors.Is(err, ErrNotExist):
		return m.gone(err)
	case errors.Is(err, ErrConflict), m.lost != nil:
		return m.look(ctx, err)
	}
	return Info{}, err
}

// gone is the outcome of a removal that found nothing to remove.
func (m *commit) gone(err error) (Info, error) {
	if m.lost != nil || m.req.Replace == "" {
		return Info{Key: m.key}, nil
	}
	conflict := &ConflictError{Key: m.key, Want: m.req.Replace}
	return Info{}, fmt.Errorf("%w (%w)", conflict, err)
}

// look decides by the archive that is there. refusal is the store's answer to
// the last try.
func (m *commit) look(ctx context.Context, refusal error) (Info, error) {
	info, log, err := m.readLog(ctx)
	switch {
	case err == nil && m.req.ID != "" && log.Has(m.req.ID):
		if log.Record.ID != m.req.ID {
			info = Info{Key: m.key}
		}
		return info, nil
	case m.lost == nil && (err == nil || m.req.ID == "" || notOurs(err)),
		err == nil && m.neverStored(info, log):
		return Info{}, refusal
	case err != nil:
		return Info{}, m.unknown(errors.Join(refusal, err))
	}
	return Info{}, m.unknown(refusal)
}

// readLog reads the log of the archive that is there, again where others replace the
// archive meanwhile.
func (m *commit) readLog(ctx context.Context) (Info, *archive.Log, error) {
	for n := 1; ; n++ {
		info, log, err := ReadLog(ctx, m.store, m.key)
		if n == commitTries || !errors.Is(err, ErrConflict) {
			return info, log, err
		}
	}
}

// notOurs says whether the error of a look at the log tells what is there, which is
// nothing that a commit of ours made.
func notOurs(err error) bool {
	return errors.Is(err, ErrNotExist) || errors.Is(err, ErrNotArchive) || errors.Is(err, archive.ErrLimit) || errors.As(err, new(*archive.FormatError))
}

// neverStored says whether what is there proves that no earlier try of this
// commit was or will be stored: an archive whose log reaches back without it.
// What was opened proves nothing; a lost request can still be on its way.
func (m *commit) neverStored(head Info, log *archive.Log) bool {
	return !m.req.Delete && m.req.ID != "" && log != nil && head.Revision != m.req.Replace
}

// ReadLog reads the commit log of the archive that key has now, and nothing else of
// it; nil if it has no log. Where the archive is there, its Info is given with an
// error too. Errors: those of Store.Open, *archive.FormatError, archive.ErrLimit.
func ReadLog(ctx context.Context, s Store, key string) (Info, *archive.Log, error) {
	o, err := s.Open(ctx, key)
	if err != nil {
		return Info{}, nil, err
	}
	defer o.Close()
	log, err := archive.ReadLog(o, o.Info().Size)
	return o.Info(), log, err
}

// unknown is the error where nobody can tell whether the commit is stored.
func (m *commit) unknown(cause error) error {
	if m.lost != nil {
		cause = fmt.Errorf("%w (the answer to an earlier try was lost: %w)", cause, m.lost)
	}
	return &Error{
		Op: "commit", Object: m.key, Kind: ErrUnknown, Cause: cause,
		Todo: "look at the workspace before the work is repeated",
	}
}
