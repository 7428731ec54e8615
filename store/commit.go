package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/workdir/workdir/archive"
)

// CommitRequest is one commit of a workspace.
type CommitRequest struct {
	Replace Revision                    // the revision that was opened; empty for none
	ID      archive.CommitID            // of the commit, which is in the bytes of Plan; empty where there is no log to look at
	Parent  archive.CommitID            // the last commit in the log of what was opened; empty where it has none
	Base    Object                      // the archive of Replace, where Plan has ranges of it; else it may be nil
	Plan    []Piece                     // the new archive, as of Compose
	Delete  bool                        // remove the archive instead; Plan is not used
	Before  func(context.Context) error // as PutOptions.Before; may be nil
	Keep    Keep                        // whether what is replaced becomes a version, and which versions stay
	Log     *archive.Log                // of the new archive, by which Keep finds what is not kept any more; may be nil
}

// Bounds of what is done about an answer that was lost.
const (
	commitTries  = 8                      // how often a write is sent, and an archive looked at that others replace meanwhile
	commitPause  = 100 * time.Millisecond // after the first look; the pause doubles
	maxPatience  = time.Minute            // for a write that may still be under way at the store
	lookPatience = 30 * time.Second       // for a store that cannot be looked at
)

// Commit stores the successor of one revision, or removes it, exactly once. Where the
// answer to the write was lost (ErrUnknown), the log of the archive that is there is
// looked at for the id of this commit, and the same bytes are sent again, under the
// same condition, only while what was opened is still there. A conflict may be with
// our own earlier try, so the log is looked at then too.
//
// Where the commit is in that log, and durable, it is done, and Commit returns nil:
// with the Info of the archive, or, where other commits came on top of ours meanwhile,
// with an Info that has a Key and nothing else. So does a removal, and a removal of
// what is not there where nothing was opened.
//
// What is to be kept is a version before the new archive can be seen; where it cannot be
// kept, nothing is stored. After an error, and a crash, it may be there.
//
// Errors: ErrConflict, where nothing was stored; ErrUnknown, where the store gave no
// definite answer in several tries or before ctx ended, or shows something from which
// nobody can tell (after a lost answer, also a log that does not reach back to what was
// opened), or cannot make durable what it shows; those of Compose and
// Store.Delete otherwise, and then nothing was stored.
func Commit(ctx context.Context, s Store, key string, c *CommitRequest) (Info, error) {
	m := commit{op: "commit", store: s, key: key, replace: c.Replace, remove: c.Delete, before: c.Before}
	m.put = func(ctx context.Context, opts *PutOptions) (Info, error) {
		return Compose(ctx, s, key, c.Base, c.Plan, opts)
	}
	if c.ID != "" && !c.Delete {
		m.ours = func(o Object) (finding, error) { return inLog(o, c.ID, c.Parent) }
	}
	k := startKeeping(ctx, s, key, c)
	if k == nil {
		return m.run(ctx)
	}
	defer k.stop()
	m.before = k.before(c.Before)
	info, err := m.run(ctx)
	if err == nil {
		k.expire(ctx)
	}
	return info, err
}

// commit is one write, sent until its outcome is known. The last three fields are its
// state; the others are immutable.
type commit struct {
	op      string // for messages
	store   Store
	key     string
	replace Revision
	remove  bool
	before  func(context.Context) error
	put     func(context.Context, *PutOptions) (Info, error)
	// ours says whether an archive that took the place of what was opened has this
	// write in it. Nil where only the absence of an archive can tell.
	ours func(Object) (finding, error)

	lost  error // of the last try whose answer was lost; nil if there was none
	pause time.Duration
	done  *outcome // what a look has decided; nil as long as nothing is
}

// outcome is what Commit returns.
type outcome struct {
	info Info
	err  error
}

// errDecided ends a Put whose outcome a look has decided.
var errDecided = errors.New("the outcome is known")

func (m *commit) run(ctx context.Context) (Info, error) {
	m.pause = commitPause
	for range commitTries {
		sent := time.Now()
		info, err := m.send(ctx)
		switch {
		case m.done != nil:
		case !errors.Is(err, ErrUnknown):
			m.done = m.settle(ctx, info, err)
		default:
			m.lost = err
			m.await(ctx, time.Since(sent))
		}
		if m.done != nil {
			return m.done.info, m.done.err
		}
	}
	return Info{}, m.unknown(fmt.Errorf("no definite answer in %d tries", commitTries))
}

func (m *commit) send(ctx context.Context) (Info, error) {
	if m.remove {
		return Info{Key: m.key}, m.store.Delete(ctx, m.key, m.replace, m.before)
	}
	return m.put(ctx, &PutOptions{Replace: m.replace, Before: m.before, Lost: m.mayRepeat})
}

// mayRepeat is PutOptions.Lost.
func (m *commit) mayRepeat(ctx context.Context, answer error) error {
	m.lost = answer
	if err := m.decide(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return nil
}

// await looks at the store until the outcome is decided, or the write may be sent
// again. The store may still be at work on a write that took long, as a gateway that
// assembles parts is, and to send it again would take as long once more, so that much
// time is given to it.
func (m *commit) await(ctx context.Context, took time.Duration) {
	start, patience := time.Now(), min(took, maxPatience)
	until, giveUp := start.Add(patience), start.Add(max(patience, lookPatience))
	for {
		err := m.decide(ctx)
		if m.done != nil {
			return
		}
		select {
		case <-ctx.Done():
			m.done = &outcome{err: m.unknown(ContextError(ctx))}
			return
		case <-time.After(m.pause):
		}
		m.pause = min(2*m.pause, maxPatience/4)
		switch {
		case err == nil && !time.Now().Before(until):
			return
		case err != nil && !time.Now().Before(giveUp):
			m.done = &outcome{err: m.unknown(err)}
			return
		}
	}
}

// decide looks at the store after a lost answer. Nil means that the write may be sent
// again; errDecided, that there is an outcome; else the store could not be looked at.
func (m *commit) decide(ctx context.Context) error {
	found, err := m.look(ctx)
	switch found.what {
	case unclear:
		return err
	case unchanged:
		return nil
	case stored:
		m.done = m.durable(ctx, found.info)
	case overtaken:
		conflict := &ConflictError{Key: m.key, Want: m.replace, Have: found.info.Revision}
		m.done = &outcome{err: &Error{Op: m.op, Object: m.key, Cause: conflict}}
	default:
		m.done = &outcome{err: m.unknown(err)}
	}
	return errDecided
}

// settle returns the outcome of the commit from a definite answer to its last try.
func (m *commit) settle(ctx context.Context, info Info, err error) *outcome {
	switch {
	case err == nil:
		return &outcome{info: info}
	case m.remove && errors.Is(err, ErrNotExist):
		return m.gone(ctx, err)
	case m.lost == nil && (m.ours == nil || !errors.Is(err, ErrConflict)):
		return &outcome{err: err}
	}
	found, lerr := m.look(ctx)
	switch {
	case found.what == stored:
		return m.durable(ctx, found.info)
	case found.what == overtaken, m.lost == nil && found.what != unclear:
		return &outcome{err: err}
	}
	return &outcome{err: m.unknown(errors.Join(err, lerr))}
}

// gone is the outcome of a removal that found nothing to remove.
func (m *commit) gone(ctx context.Context, err error) *outcome {
	switch {
	case m.lost != nil:
		return m.durable(ctx, Info{Key: m.key})
	case m.replace == "":
		return &outcome{info: Info{Key: m.key}}
	}
	conflict := &ConflictError{Key: m.key, Want: m.replace}
	return &outcome{err: fmt.Errorf("%w (%w)", conflict, err)}
}

// durable is the outcome where the store shows that the write is done. That it can be
// seen does not say that it stays.
func (m *commit) durable(ctx context.Context, info Info) *outcome {
	if err := Sync(ctx, m.store, m.key); err != nil {
		return &outcome{err: m.unknown(fmt.Errorf("it is there, but could not be made durable: %w", err))}
	}
	return &outcome{info: info}
}

// finding is what a look at the store says of a write.
type finding struct {
	what whatIsThere
	info Info // of the archive that is there; a Key alone where ours is beneath it
}

type whatIsThere int

const (
	unclear   whatIsThere = iota // the store could not be looked at
	unchanged                    // what was opened: the write is not done, or not yet
	stored                       // the write is done
	overtaken                    // another archive, whose log proves that the write is not done and never will be
	foreign                      // something that does not show whether the write is done, such as a log begun since
)

// look looks at what the key has now, again where others replace it meanwhile. The
// error says what is wrong with it.
func (m *commit) look(ctx context.Context) (found finding, err error) {
	for range commitTries {
		found, err = m.lookOnce(ctx)
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return found, err
}

func (m *commit) lookOnce(ctx context.Context) (finding, error) {
	o, err := OpenTail(ctx, m.store, m.key, LogTail)
	switch {
	case errors.Is(err, ErrNotExist) && m.remove:
		return finding{stored, Info{Key: m.key}}, nil
	case errors.Is(err, ErrNotExist) && m.replace == "":
		return finding{what: unchanged}, nil
	case errors.Is(err, ErrNotExist), errors.Is(err, ErrNotArchive):
		return finding{what: foreign}, err
	case err != nil:
		return finding{}, err
	}
	defer o.Close()
	switch {
	case o.Info().Revision == m.replace:
		return finding{unchanged, o.Info()}, nil
	case m.ours == nil:
		return finding{foreign, o.Info()}, nil
	}
	return m.ours(o)
}

// inLog looks for a commit in the log of an archive. A log that has the commit's parent
// and not the commit proves that what was opened was replaced by another one, and no
// revision comes back. Without the parent in it, the commit may have been stored and
// removed before that log began, or may still arrive once the archive is removed.
func inLog(o Object, id, parent archive.CommitID) (finding, error) {
	info := o.Info()
	log, err := archive.ReadLog(o, info.Size)
	switch {
	case errors.Is(err, archive.ErrLimit), errors.As(err, new(*archive.FormatError)):
		return finding{foreign, info}, err
	case err != nil:
		return finding{}, err
	case log == nil:
		return finding{foreign, info}, nil
	case !log.Has(id) && parent != "" && log.Has(parent):
		return finding{overtaken, info}, nil
	case !log.Has(id):
		return finding{foreign, info}, nil
	case log.Record.ID != id:
		info = Info{Key: info.Key}
	}
	return finding{stored, info}, nil
}

// LogTail is how much of an archive's end to ask for where its log is wanted, bytes:
// more than a full log takes without results.
const LogTail = 128 << 10

// ReadLog reads the commit log of the archive that key has now, and nothing else of
// it; nil if it has no log. Where the archive is there, its Info is returned with an
// error too. Errors: those of Store.Open, *archive.FormatError, archive.ErrLimit.
func ReadLog(ctx context.Context, s Store, key string) (Info, *archive.Log, error) {
	o, err := OpenTail(ctx, s, key, LogTail)
	if err != nil {
		return Info{}, nil, err
	}
	defer o.Close()
	log, err := archive.ReadLog(o, o.Info().Size)
	return o.Info(), log, err
}

// unknown is the error where nobody can tell whether the commit is stored.
func (m *commit) unknown(cause error) error {
	switch {
	case cause == nil:
		cause = m.lost
	case m.lost != nil:
		cause = fmt.Errorf("%w (the answer to an earlier try was lost: %w)", cause, m.lost)
	}
	return &Error{
		Op: m.op, Object: m.key, Kind: ErrUnknown, Cause: cause,
		Todo: "look at the workspace before the work is repeated",
	}
}
