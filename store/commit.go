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
	Replace Revision                    // the opened revision; empty for none
	ID      archive.CommitID            // of the commit, contained in the bytes of Plan; empty if the archive has no log
	Parent  archive.CommitID            // the last commit in the log of the opened archive; empty without one
	Base    Object                      // the archive of Replace; may be nil if Plan has no ranges
	Plan    []Piece                     // the new archive, as of Compose
	Delete  bool                        // remove the archive instead; Plan is ignored
	Before  func(context.Context) error // as PutOptions.Before; may be nil
	Keep    Keep                        // whether the replaced archive becomes a version, and which versions stay
	Log     *archive.Log                // of the new archive, by which Keep finds expired versions; may be nil
}

// Bounds of the recovery from a lost answer.
const (
	commitTries   = 8                      // number of writes, and of reads of an archive that is replaced concurrently
	commitPause   = 100 * time.Millisecond // after the first check; the pause doubles
	maxPatience   = time.Minute            // for a write that the store may still be processing
	checkPatience = 30 * time.Second       // for a store that cannot be checked
)

// Commit stores the successor of one revision, or removes it, exactly once. If the answer to
// the write was lost (ErrUnknown), Commit searches the current archive's log for the id of
// this commit. It repeats the write, with the same bytes and condition, only while the opened
// revision is still there. A conflict may be with our own earlier try, so the log is searched
// then too.
//
// Once the commit is in that log, and durable, Commit returns nil, with the Info of the
// archive, or, if other commits have been made on top of ours meanwhile, with an Info that has
// only a Key. A removal returns the latter too, as does the removal of an absent archive if
// none was opened.
//
// An archive that is to be kept becomes a version before the new archive becomes visible; if
// it cannot be kept, nothing is stored. After an error or a crash the version may exist.
//
// Errors: ErrConflict, and nothing was stored; ErrUnknown if the store returned no definite
// answer in several tries or before ctx ended, or if its state does not show the outcome
// (after a lost answer this includes a log that does not reach back to the opened archive), or
// if the commit found there could not be made durable; otherwise those of Compose and
// Store.Delete, and nothing was stored.
func Commit(ctx context.Context, s Store, key string, c *CommitRequest) (Info, error) {
	m := commit{op: "commit", store: s, key: key, replace: c.Replace, remove: c.Delete, before: c.Before}
	m.put = func(ctx context.Context, opts *PutOptions) (Info, error) {
		return Compose(ctx, s, key, c.Base, c.Plan, opts)
	}
	if c.ID != "" && !c.Delete {
		m.ours = func(o Object) (finding, error) { return findInLog(o, c.ID, c.Parent) }
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
	// ours finds out whether an archive that replaced the opened one contains this write. Nil
	// if only the absence of an archive shows that the write is done.
	ours func(Object) (finding, error)

	lost  error // of the last try whose answer was lost; nil if there was none
	pause time.Duration
	done  *outcome // set once a check has determined the outcome
}

// outcome is what Commit returns.
type outcome struct {
	info Info
	err  error
}

// errDecided ends a Put whose outcome a check has determined.
var errDecided = errors.New("the outcome is known")

func (m *commit) run(ctx context.Context) (Info, error) {
	m.pause = commitPause
	for range commitTries {
		sent := time.Now()
		info, err := m.send(ctx)
		switch {
		case m.done != nil:
		case !errors.Is(err, ErrUnknown):
			m.done = m.conclude(ctx, info, err)
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

// await checks the store until the outcome is known, or the write may be repeated. The store
// may still be processing a write that took long, like a gateway that assembles parts, and
// repeating it would take as long once more; so await waits for that time first.
func (m *commit) await(ctx context.Context, took time.Duration) {
	start, patience := time.Now(), min(took, maxPatience)
	until, giveUp := start.Add(patience), start.Add(max(patience, checkPatience))
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

// decide checks the store after a lost answer. Nil means that the write may be repeated;
// errDecided, that the outcome is known; any other error, that the store could not be checked.
func (m *commit) decide(ctx context.Context) error {
	found, err := m.check(ctx)
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

// conclude returns the outcome of the commit, given a definite answer to its last try.
func (m *commit) conclude(ctx context.Context, info Info, err error) *outcome {
	switch {
	case err == nil:
		return &outcome{info: info}
	case m.remove && errors.Is(err, ErrNotExist):
		return m.removedNothing(ctx, err)
	case m.lost == nil && (m.ours == nil || !errors.Is(err, ErrConflict)):
		return &outcome{err: err}
	}
	found, lerr := m.check(ctx)
	switch {
	case found.what == stored:
		return m.durable(ctx, found.info)
	case found.what == overtaken, m.lost == nil && found.what != unclear:
		return &outcome{err: err}
	}
	return &outcome{err: m.unknown(errors.Join(err, lerr))}
}

// removedNothing is the outcome of a removal that found no archive.
func (m *commit) removedNothing(ctx context.Context, err error) *outcome {
	switch {
	case m.lost != nil:
		return m.durable(ctx, Info{Key: m.key})
	case m.replace == "":
		return &outcome{info: Info{Key: m.key}}
	}
	conflict := &ConflictError{Key: m.key, Want: m.replace}
	return &outcome{err: fmt.Errorf("%w (%w)", conflict, err)}
}

// durable is the outcome if the store shows that the write is done. A visible write may not be
// durable yet.
func (m *commit) durable(ctx context.Context, info Info) *outcome {
	if err := Sync(ctx, m.store, m.key); err != nil {
		return &outcome{err: m.unknown(fmt.Errorf("it is there, but could not be made durable: %w", err))}
	}
	return &outcome{info: info}
}

// finding is what a check of the store shows about a write.
type finding struct {
	what whatIsThere
	info Info // of the current archive; only a Key if ours is an ancestor of it
}

type whatIsThere int

const (
	unclear   whatIsThere = iota // the store could not be checked
	unchanged                    // the opened revision: the write is not done, or not yet
	stored                       // the write is done
	overtaken                    // another archive, whose log proves that the write is not done and never will be
	foreign                      // does not show whether the write is done, such as a log begun since
)

// check examines the current archive, several times if others replace it meanwhile. The error
// says what is wrong with it.
func (m *commit) check(ctx context.Context) (found finding, err error) {
	for range commitTries {
		found, err = m.checkOnce(ctx)
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return found, err
}

func (m *commit) checkOnce(ctx context.Context) (finding, error) {
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

// findInLog looks for a commit in the log of an archive. A log that has the commit's parent
// but not the commit proves that another commit replaced the opened revision, which never
// returns. If the log lacks the parent, the commit may have been stored and removed before
// that log began, or may still arrive once the archive is removed.
func findInLog(o Object, id, parent archive.CommitID) (finding, error) {
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

// LogTail is how many bytes of an archive's end to request in order to read its log: more than
// the size of a full log without results.
const LogTail = 128 << 10

// ReadLog reads only the commit log of key's current archive; nil if it has no log. If the
// archive exists its Info is returned even with an error. Errors: those of Store.Open,
// *archive.FormatError, archive.ErrLimit.
func ReadLog(ctx context.Context, s Store, key string) (Info, *archive.Log, error) {
	o, err := OpenTail(ctx, s, key, LogTail)
	if err != nil {
		return Info{}, nil, err
	}
	defer o.Close()
	log, err := archive.ReadLog(o, o.Info().Size)
	return o.Info(), log, err
}

// unknown is the error of a commit that may or may not be stored.
func (m *commit) unknown(cause error) error {
	switch {
	case cause == nil:
		cause = m.lost
	case m.lost != nil:
		cause = fmt.Errorf("%w (the answer to an earlier try was lost: %w)", cause, m.lost)
	}
	return &Error{
		Op: m.op, Object: m.key, Kind: ErrUnknown, Cause: cause,
		Todo: "check the workspace before repeating the work",
	}
}
