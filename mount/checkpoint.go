package mount

import (
	"context"
	"fmt"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// LastCheckpoint is Options.FromCheckpoint for the newest checkpoint.
const LastCheckpoint = wire.LastCheckpoint

// Checkpoint says what Mount.Checkpoint has stored.
type Checkpoint struct {
	ID       archive.CommitID `json:"checkpointId"` // names it, for Options.FromCheckpoint
	URL      string           `json:"url"`          // of the workspace, with the id as a version: what reads it
	Size     int64            `json:"size"`         // of the archive, bytes
	Changes  archive.Changes  `json:"changes"`      // since the archive that was opened
	Warnings []string         `json:"warnings,omitempty"`
}

// Checkpoint stores what tools see now beside the workspace, while they work on: no list of
// workspaces shows it, and the workspace stays as it is. A later checkpoint of the same mount
// takes its place, and a commit of the mount, or of one that began with it, removes it; after
// anything else it stays, to be read by its URL, or for another attempt to begin with
// (Options.FromCheckpoint). docs/semantics.md says what is in it.
//
// Errors: ErrReadOnly, ErrAbandoned, ErrClosed, ErrServerLost; ErrBusy where tools changed
// files all the time, in the views in which they cannot be kept waiting; ErrLimit where there
// is no memory for a copy of what was changed; ErrCommit, store.ErrUnknown. The mount goes on
// after all of them but the third and fourth.
func (m *Mount) Checkpoint(ctx context.Context) (Checkpoint, error) {
	return m.checkpoint(ctx, "")
}

// CheckpointWith is Checkpoint with a message for its record, as of SetMessage.
func (m *Mount) CheckpointWith(ctx context.Context, message string) (Checkpoint, error) {
	if len(message) > archive.MaxMessage {
		return Checkpoint{}, fmt.Errorf("checkpoint %s: %w: a message of %d bytes, at most %d are kept", m.path, ErrLimit, len(message), archive.MaxMessage)
	}
	return m.checkpoint(ctx, message)
}

func (m *Mount) checkpoint(ctx context.Context, message string) (Checkpoint, error) {
	if err := m.mayCheckpoint(); err != nil {
		return Checkpoint{}, err
	}
	var reply wire.Checkpoint
	req := wire.CheckpointRequest{MountID: wire.MountID{ID: m.id}, Message: message}
	if err := m.session.conn.CallToEnd(ctx, wire.CallCheckpoint, req, &reply); err != nil {
		return Checkpoint{}, m.callError(ctx, err)
	}
	return Checkpoint{
		ID: reply.ID, URL: m.atCheckpoint(reply.ID), Size: reply.Size, Changes: reply.Changes, Warnings: reply.Warnings,
	}, nil
}

// atCheckpoint is the URL of a checkpoint, without secrets.
func (m *Mount) atCheckpoint(id archive.CommitID) string {
	u := m.url
	u.Commit = id
	return u.Redacted()
}

func (m *Mount) mayCheckpoint() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.opts.ReadOnly:
		return fmt.Errorf("checkpoint %s: %w", m.path, ErrReadOnly)
	case m.abandoned:
		return fmt.Errorf("checkpoint %s: %w", m.path, ErrAbandoned)
	case m.over:
		return fmt.Errorf("checkpoint %s: %w", m.path, ErrClosed)
	}
	return nil
}

// Resumed returns the id of the checkpoint that the mount began with, see
// Options.FromCheckpoint; "" where it began with the archive.
func (m *Mount) Resumed() archive.CommitID { return m.resumed }

// checkFrom refuses what no checkpoint can be named by.
func (o *Options) checkFrom(u store.URL) error {
	switch {
	case o.FromCheckpoint == "" || o.FromCheckpoint == LastCheckpoint && !o.ReadOnly:
		return nil
	case o.ReadOnly:
		return fmt.Errorf("%w: a read-only mount shows a checkpoint as a version: URL@%s", store.ErrURL, o.FromCheckpoint)
	}
	_, err := u.At(o.FromCheckpoint)
	return err
}

// Checkpoint stores the state of the mount as Mount.CheckpointWith does.
func (r *Remote) Checkpoint(ctx context.Context, message string) (Checkpoint, error) {
	var c Checkpoint
	err := r.send(ctx, remoteCheckpoint, remoteRequest{Message: message}, &c, nil)
	return c, err
}
