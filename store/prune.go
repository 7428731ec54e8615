package store

import (
	"context"
	"errors"
	"slices"
	"time"
)

// PruneOptions select what Prune removes beneath a prefix.
type PruneOptions struct {
	// OlderThan removes the workspaces that were not stored for so long, with their versions
	// and checkpoints; what is kept of workspaces that are gone; and checkpoints of that age of
	// the workspaces that stay. 0: none.
	OlderThan time.Duration
	// KeepLast keeps that many of the most recently stored workspaces, however old.
	KeepLast int
	// Versions are the versions to keep of remaining workspaces. nil: all.
	Versions *Keep
	// Recursive includes everything beneath the prefix, not only one level.
	Recursive bool
	// DryRun removes nothing, and reports what would be removed.
	DryRun bool
	// Spare returns why a workspace to be removed must stay, or "". May be nil.
	Spare func(context.Context, *Usage) (why string, err error)
}

// Pruned is the outcome for a workspace, or, in a dry run, the expected one.
type Pruned struct {
	Usage
	Removed bool         // the archive, and all versions and checkpoints
	Why     string       // the reason why it stays or goes
	Dropped []Version    // removed versions
	Cleared []Checkpoint // checkpoints that were removed
}

// Prune removes the selected workspaces and versions beneath a prefix, and returns all
// workspaces that it has considered, sorted by name. The removal is conditional on the archive
// being the one considered: a workspace with a commit meanwhile stays.
//
// Errors: ErrNotExist without any workspace; those of List. After a failed removal the others
// are still done, and the errors are joined.
func Prune(ctx context.Context, prefixURL string, opts *PruneOptions) ([]Pruned, error) {
	u, err := ParsePrefix(prefixURL)
	if err != nil {
		return nil, err
	}
	s, err := OpenBucket(ctx, u)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	found, err := u.usage(ctx, s, opts.Recursive)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &Error{Op: "prune", Object: u.Redacted(), Kind: ErrNotExist, Cause: errors.New("there is no workspace beneath it")}
	}
	p := &pruning{ctx: ctx, store: s, opts: opts, now: time.Now()}
	pruned := p.judge(found)
	return pruned, p.err
}

// pruning is one Prune.
type pruning struct {
	ctx   context.Context
	store Store
	opts  *PruneOptions
	now   time.Time
	err   error // joined
}

func (p *pruning) fail(err error) {
	if err != nil {
		p.err = errors.Join(p.err, err)
	}
}

func (p *pruning) judge(found []Usage) []Pruned {
	newest := slices.Clone(found)
	slices.SortStableFunc(newest, func(a, b Usage) int { return b.ModTime.Compare(a.ModTime) })
	last := map[string]bool{}
	for _, u := range newest[:min(len(newest), max(0, p.opts.KeepLast))] {
		last[u.URL.Key] = !u.Gone
	}
	pruned := make([]Pruned, 0, len(found))
	for i := range found {
		one := Pruned{Usage: found[i]}
		switch {
		case p.opts.OlderThan <= 0:
			one.Why = "its age is not asked for"
		case p.now.Sub(lastStored(&found[i])) < p.opts.OlderThan:
			one.Why = "it is younger"
		case last[found[i].URL.Key]:
			one.Why = "it is one of the last"
		default:
			p.remove(&one)
		}
		if !one.Removed && !one.Gone {
			p.versions(&one)
			p.checkpoints(&one)
		}
		pruned = append(pruned, one)
	}
	return pruned
}

// lastStored is when a workspace was stored, or the newest of what is kept of one that is
// gone.
func lastStored(u *Usage) (t time.Time) {
	if !u.Gone {
		return u.ModTime
	}
	if len(u.Versions) > 0 {
		t = u.Versions[0].ModTime
	}
	if len(u.Checkpoints) > 0 && u.Checkpoints[0].ModTime.After(t) {
		t = u.Checkpoints[0].ModTime
	}
	return t
}

// remove removes an old workspace.
func (p *pruning) remove(one *Pruned) {
	if p.opts.Spare != nil {
		why, err := p.opts.Spare(p.ctx, &one.Usage)
		if err != nil {
			one.Why = "whether it may go is not known"
			p.fail(err)
			return
		}
		if one.Why = why; why != "" {
			return
		}
	}
	one.Why = "it is older"
	if !p.opts.DryRun && !one.Gone {
		_, err := Commit(p.ctx, p.store, one.URL.Key, &CommitRequest{Replace: one.Revision, Delete: true})
		switch {
		case errors.Is(err, ErrConflict):
			one.Why = "it was committed to meanwhile"
			return
		case err != nil:
			one.Why = "it could not be removed"
			p.fail(err)
			return
		}
	}
	one.Removed = true
	p.drop(one, one.Versions)
	p.clear(one, one.Checkpoints)
}

// checkpoints removes the checkpoints that are old.
func (p *pruning) checkpoints(one *Pruned) {
	if p.opts.OlderThan <= 0 {
		return
	}
	p.clear(one, slices.DeleteFunc(slices.Clone(one.Checkpoints), func(c Checkpoint) bool {
		return p.now.Sub(c.ModTime) < p.opts.OlderThan
	}))
}

func (p *pruning) clear(one *Pruned, checkpoints []Checkpoint) {
	for _, c := range checkpoints {
		if p.dropped(c.Version) {
			one.Cleared = append(one.Cleared, c)
		}
	}
}

// versions removes the versions of a workspace that are not to be kept.
func (p *pruning) versions(one *Pruned) {
	if p.opts.Versions == nil || len(one.Versions) == 0 {
		return
	}
	_, log, err := ReadLog(p.ctx, p.store, one.URL.Key)
	if err != nil {
		p.fail(err)
		return
	}
	p.drop(one, p.opts.Versions.Expired(one.Versions, log, p.now))
}

func (p *pruning) drop(one *Pruned, versions []Version) {
	for _, v := range versions {
		if p.dropped(v) {
			one.Dropped = append(one.Dropped, v)
		}
	}
}

// dropped removes one, and reports whether it is gone, or would be.
func (p *pruning) dropped(v Version) bool {
	if p.opts.DryRun {
		return true
	}
	err := Drop(p.ctx, p.store, v)
	p.fail(err)
	return err == nil
}
