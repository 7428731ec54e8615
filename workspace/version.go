package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// Versions returns the archives of a workspace that are kept, the newest first.
func Versions(ctx context.Context, url string) ([]store.Version, error) {
	u, s, err := openStore(ctx, url)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return u.Versions(ctx, s)
}

// Past is the history of a workspace.
type Past struct {
	Info     store.Info   // of the archive whose log it is
	Log      *archive.Log // nil where another tool wrote the archive
	Versions []store.Version
	Gone     bool // the workspace has no archive, and the log is the newest version's

	Checkpoints []store.Checkpoint // the newest first
}

// History returns the commits of a workspace, as Log does, and which versions are kept,
// without the archive itself. Of URL@COMMIT it is the history up to that commit.
func History(ctx context.Context, url string) (h Past, err error) {
	u, s, err := openStore(ctx, url)
	if err != nil {
		return h, err
	}
	defer s.Close()
	h.Log, h.Info, err = Log(ctx, url)
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		return h, err
	}
	var verr error
	if h.Versions, verr = u.Versions(ctx, s); verr != nil {
		return h, verr
	}
	if h.Checkpoints, verr = u.Checkpoints(ctx, s); verr != nil {
		return h, verr
	}
	h.Gone = err != nil && len(h.Versions) > 0
	if h.Gone {
		u.Commit = h.Versions[0].ID
		h.Log, h.Info, err = Log(ctx, u.String())
	}
	if err == nil && h.Log.Len() > 0 && !h.Gone {
		h.Versions = slices.DeleteFunc(h.Versions, func(v store.Version) bool { return v.ID == h.Log.Record.ID && u.Commit == "" })
	}
	return h, err
}

// openStore opens the store of a workspace.
func openStore(ctx context.Context, url string) (store.URL, store.Store, error) {
	u, err := store.ParseURL(url)
	if err != nil {
		return u, nil, err
	}
	s, err := store.OpenBucket(ctx, u)
	return u, s, err
}

// RollbackOptions are the options of Rollback. Nil stands for the zero value.
type RollbackOptions struct {
	Options
	// Keep is as of ImportOptions. What the rollback replaces is kept in any case, so that
	// it can be taken back.
	Keep store.Keep
	// Message is for the commit's record.
	Message string
	// Tool is the program in the commit's record, with its version; "" is workdir.
	Tool string
}

// RolledBack describes a rollback.
type RolledBack struct {
	Info     store.Info       // of the archive that is there now
	CommitID archive.CommitID // of the rollback; "" where the workspace was at that version already
	Restored archive.CommitID // the commit whose state it brings back
	Changes  fs.Changes       // on the way from what was there before
}

// errNoLog is for a version without a commit.
var errNoLog = errors.New("another program wrote that archive, and it has no commit")

// Rollback makes the files of a version those of the workspace, by one commit on top of what
// is there, on the condition that nothing comes in between. A workspace whose archive is gone
// gets one again. The log goes on: it has all commits, and that this one is a rollback.
//
// Errors: store.ErrNoVersion; store.ErrConflict; those of store.Commit and of Tree.
func Rollback(ctx context.Context, url, commit string, opts *RollbackOptions) (RolledBack, error) {
	if opts == nil {
		opts = &RollbackOptions{}
	}
	u, s, err := openStore(ctx, url)
	if err != nil {
		return RolledBack{}, err
	}
	defer s.Close()
	at, err := u.At(commit)
	if err != nil {
		return RolledBack{}, err
	}
	r := &rollback{ctx: ctx, opts: opts, url: u, store: s}
	done, err := r.run(at)
	if err != nil {
		return RolledBack{}, fmt.Errorf("rollback %s to %.8s: %w", u.Redacted(), at.Commit, err)
	}
	return done, nil
}

// rollback is one rollback.
type rollback struct {
	ctx   context.Context
	opts  *RollbackOptions
	url   store.URL
	store store.Store
}

func (r *rollback) run(at store.URL) (RolledBack, error) {
	lo := loadOptions{Options: &r.opts.Options, content: true, devices: true, needLog: true}
	version, err := load(r.ctx, at.String(), lo)
	if err != nil {
		return RolledBack{}, err
	}
	defer version.close()
	if version.log == nil {
		return RolledBack{}, errNoLog
	}
	done := RolledBack{Restored: version.log.Record.ID}
	head, err := load(r.ctx, r.url.String(), lo)
	switch {
	case errors.Is(err, store.ErrNotExist):
		if head, err = newTree(lo); err != nil {
			return done, err
		}
		head.log = version.log
	case err != nil:
		return done, err
	case head.log.Len() > 0 && head.log.Record.ID == done.Restored:
		head.close()
		done.Info = head.info
		return done, nil
	}
	defer head.close()
	if done.Changes, err = changesBetween(r.ctx, lo.Options, head, version); err != nil {
		return done, err
	}
	done.CommitID = archive.NewCommitID()
	done.Info, err = r.commit(head, version, &done)
	return done, err
}

// commit stores the tree of version on top of head.
func (r *rollback) commit(head, version *loaded, done *RolledBack) (store.Info, error) {
	rec := newRecord(done.CommitID, r.opts.Tool, done.Changes)
	rec.Message, rec.Restored = r.opts.Message, string(done.Restored)
	next := head.log.StoredAt(head.info.ModTime).Next(rec)
	wopts := &archive.WriterOptions{Devices: true, Warn: r.opts.Warn}
	plan, err := archive.NewWriter(nil, wopts).Plan(r.ctx, version.tree, version.archive, next)
	if err != nil {
		return store.Info{}, err
	}
	pieces := make([]store.Piece, len(plan.Pieces))
	for i, p := range plan.Pieces {
		pieces[i] = store.Piece{Off: p.Off, Len: p.Len, Write: p.Write}
	}
	keep := r.opts.Keep
	if keep.IsZero() {
		keep.Last = math.MaxInt // no version goes because of a rollback
	}
	req := &store.CommitRequest{
		Replace: head.info.Revision, ID: done.CommitID, Parent: next.Record.Parent, Keep: keep, Log: next,
		Plan: store.Written(func(w io.Writer) error { return store.WritePlan(r.ctx, w, version.from.object, pieces) }),
	}
	return store.Commit(r.ctx, r.store, r.url.Key, req)
}

// changesBetween counts what a rollback from a to b does.
func changesBetween(ctx context.Context, opts *Options, a, b *loaded) (fs.Changes, error) {
	d := &differ{ctx: ctx, opts: opts, a: a, b: b}
	found, err := d.compare()
	if err != nil {
		return fs.Changes{}, err
	}
	return countChanges(found), nil
}

// countChanges sums up differences.
func countChanges(found []Difference) (c fs.Changes) {
	for _, d := range found {
		switch d.Change {
		case Added:
			c.Created++
		case Removed:
			c.Removed++
		default:
			c.Modified++
		}
		if d.B != nil {
			c.Bytes += d.B.Size
		}
	}
	return c
}
