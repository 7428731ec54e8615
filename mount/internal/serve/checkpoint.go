package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// checkpoint stores what tools see now beside the workspace, under a name that belongs to
// the mount, replacing an earlier checkpoint of the mount. The mount stays as it is.
func (h *hosted) checkpoint(ctx context.Context, req *wire.CheckpointRequest) (out wire.Checkpoint, err error) {
	if ctx, err = h.begin(ctx); err != nil {
		return out, err
	}
	defer h.end()
	if h.stateNow() != wire.StateMounted || !h.view.shown() {
		return out, fmt.Errorf("checkpoint %s: %w", h.dir, wire.ErrClosed)
	}
	err = h.takeCheckpoint(ctx, req, &out)
	if err != nil && !errors.Is(err, host.ErrBusy) {
		err = commitError(fmt.Errorf("checkpoint %s: %w", h.req.URL.Redacted(), err), h.view.cause())
	}
	return out, err
}

func (h *hosted) takeCheckpoint(ctx context.Context, req *wire.CheckpointRequest, out *wire.Checkpoint) error {
	buf, err := h.newBuffer()
	if err != nil {
		return err
	}
	defer buf.close()
	h.warnings.reset()
	var plan []store.Piece
	var next *archive.Log
	err = h.view.still(ctx, func(from *loaded) error {
		buf.n = 0
		out.Changes = h.sinceBase(from.tree.Changes())
		next = h.log.Next(h.detachedRecord(req.Message, out.Changes))
		pieces, err := h.planFor(ctx, from, next, nil, false)
		if err == nil {
			plan, err = buf.pack(pieces)
		}
		return err
	})
	if err != nil {
		return err
	}
	write := func(w io.Writer) error { return store.WritePlan(ctx, w, h.base.revision(), plan) }
	c, err := h.putCheckpoint(ctx, &store.CommitRequest{ID: next.Record.ID, Parent: next.Record.Parent, Plan: store.Written(write)})
	if err != nil {
		return err
	}
	h.checkpointed = c
	out.ID, out.Size, out.Warnings = c.ID, c.Size, h.warnings.list()
	return nil
}

// putCheckpoint stores a checkpoint. If somebody has removed the earlier one meanwhile, the
// new one gets another name.
func (h *hosted) putCheckpoint(ctx context.Context, req *store.CommitRequest) (*store.Checkpoint, error) {
	c := store.Checkpoint{}
	if h.checkpointed != nil {
		c = *h.checkpointed
	}
	for {
		if req.Replace = c.Revision; req.Replace == "" {
			c.ID = archive.NewCommitID()
			c.Key = h.req.URL.CheckpointKey(c.ID, &h.req.Origin, h.info.Revision)
		}
		info, err := store.Commit(ctx, h.store, c.Key, req)
		switch {
		case err == nil:
			c.Info = info
			return &c, nil
		case req.Replace != "" && (errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotExist)):
			c.Revision = ""
		default:
			return nil, err
		}
	}
}

// dropCheckpoints removes the mount's own checkpoint, and the one that it began with: the
// workspace now has their content. Prune removes what is left.
func (h *hosted) dropCheckpoints(ctx context.Context) {
	var drop []store.Version
	if h.checkpointed != nil {
		drop = append(drop, h.checkpointed.Version)
	}
	if h.resumed != nil {
		drop = append(drop, h.resumed.Version)
	}
	for _, v := range drop {
		if err := store.Drop(ctx, h.store, v); err != nil {
			h.logger().Warn("a checkpoint that is not needed any more could not be removed", "checkpoint", v.ID, "cause", err)
		}
	}
}

// sinceBase returns the changes since the archive that the mount replaces, given the
// changes since the mount was opened. What differs in the checkpoint that it began with,
// and again since, counts twice.
func (h *hosted) sinceBase(c archive.Changes) archive.Changes {
	if h.resumed == nil {
		return c
	}
	before := h.resumed.changes
	return archive.Changes{
		Created: before.Created + c.Created, Modified: before.Modified + c.Modified,
		Removed: before.Removed + c.Removed, Bytes: before.Bytes + c.Bytes,
	}
}

// resumed is the checkpoint with which a mount began.
type resumed struct {
	store.Checkpoint
	changes archive.Changes
}

// id returns the id of the checkpoint; "" for none.
func (r *resumed) id() archive.CommitID {
	if r == nil {
		return ""
	}
	return r.ID
}

// resume replaces the tree that was loaded by that of a checkpoint, if the checkpoint that
// was asked for exists. Revision and log stay those of the archive, so that a commit
// replaces the archive.
func (h *hosted) resume(ctx context.Context) error {
	c, err := h.findCheckpoint(ctx)
	if c == nil || err != nil {
		return err
	}
	l := h.loader()
	l.url.Key = c.Key
	obj, err := l.open(ctx)
	if err == nil && obj == nil {
		err = h.checkpointError(store.ErrNoVersion, "it was removed while it was looked for", "")
	}
	if err != nil {
		return err
	}
	from, err := l.load(ctx, obj)
	if err != nil {
		from.free()
		return err
	}
	h.resumed = &resumed{Checkpoint: *c}
	if from.log.Len() > 0 {
		h.resumed.changes = from.log.Record.Changed
	}
	from.info, from.log, from.rewound = h.info, h.log, h.rewound
	h.loaded.free()
	h.loaded = from
	return nil
}

// findCheckpoint returns the checkpoint with which the mount is to begin; nil if that is
// the last one, and the present archive has none.
func (h *hosted) findCheckpoint(ctx context.Context) (*store.Checkpoint, error) {
	all, err := h.req.URL.Checkpoints(ctx, h.store)
	if err != nil {
		return nil, err
	}
	if h.req.FromCheckpoint == wire.LastCheckpoint {
		return h.lastCheckpoint(all), nil
	}
	var found *store.Checkpoint
	for i := range all {
		if !all[i].Begins(h.req.FromCheckpoint) {
			continue
		}
		if found != nil {
			return nil, h.checkpointError(store.ErrURL, "several checkpoints begin so", "write more digits of the checkpoint's id")
		}
		found = &all[i]
	}
	switch {
	case found == nil:
		return nil, h.checkpointError(store.ErrNoVersion, "the workspace has no such checkpoint", `"workdir-mount log" shows which there are`)
	case !found.OnBase(h.info.Revision):
		return nil, h.checkpointError(store.ErrConflict, "the workspace was stored since the checkpoint was made", `read it as a version; "workdir-mount fork" makes a workspace of it`)
	}
	return found, nil
}

// lastCheckpoint returns the newest checkpoint of the mount's step, or of the workspace if
// the mount has no step.
func (h *hosted) lastCheckpoint(all []store.Checkpoint) *store.Checkpoint {
	_, step := h.req.Step()
	stale := 0
	for i := range all {
		switch {
		case step && !all[i].Of(&h.req.Origin):
		case !all[i].OnBase(h.info.Revision):
			stale++
		default:
			return &all[i]
		}
	}
	if stale > 0 {
		h.warn(archive.Warning{Text: fmt.Sprintf("the work begins anew, with the workspace as it is stored: since the checkpoint was made the workspace was stored (%d of them)", stale)})
	}
	return nil
}

func (h *hosted) checkpointError(kind error, why, todo string) error {
	return &store.Error{Op: "open", Object: h.req.URL.Redacted() + "@" + h.req.FromCheckpoint, Kind: kind, Cause: errors.New(why), Todo: todo}
}

// fork makes a separate tree with the content that the mount's tree had when it was opened.
// The caller frees the result, also beside an error.
func (h *hosted) fork(ctx context.Context) (c loaded, err error) {
	l := h.loader()
	l.progress = func(wire.Progress) {}
	switch {
	case h.base != nil:
		h.base.hold()
		c.info, c.base = h.info, h.base
		err = l.treeOn(&c, l.readerOptions(nil))
	case h.info.Revision == "", h.rewound == archive.NoArchive:
		err = l.newTree(&c)
	case h.rewound != "":
		return c, errNoFork
	default:
		return h.loadAgain(ctx, l)
	}
	if err == nil {
		c.tree.Seal()
	}
	return c, err
}

// errNoFork says that what was opened cannot be read again.
var errNoFork = errors.New("another program wrote the archive that was opened, and it was replaced or removed since: a checkpoint of it cannot be made in this view; use --view fuse")

// loadAgain loads an archive without an index once more.
func (h *hosted) loadAgain(ctx context.Context, l *loader) (c loaded, err error) {
	obj, err := l.open(ctx)
	switch {
	case err != nil:
		return c, err
	case obj == nil:
		return c, errNoFork
	case obj.Info().Revision != h.info.Revision:
		obj.Close()
		return c, errNoFork
	}
	return l.load(ctx, obj)
}

// stillTries is how often a view copies changes while tools keep changing them.
const stillTries = 5

// changing is the error of a view in which tools kept changing something.
func (h *hosted) changing(users []host.Process) error {
	return fmt.Errorf("checkpoint %s: %w: files were changed while they were copied, %d times; take it while tools are quiet, or use the view fuse; in use by %s",
		h.dir, host.ErrBusy, stillTries, host.NameProcesses(users))
}

// limitError says what to do if there is no room for a copy.
func limitError(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w: a checkpoint needs memory for what was changed", wire.ErrLimit, err)
	}
	return err
}
