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

// Checkpoint describes what Mount.Checkpoint has stored.
type Checkpoint struct {
	ID       archive.CommitID `json:"checkpointId"` // its name for Options.FromCheckpoint
	URL      string           `json:"url"`          // of the workspace with the id as a version, by which it can be read
	Size     int64            `json:"size"`         // of the archive, in bytes
	Changes  archive.Changes  `json:"changes"`      // since the archive that was opened
	Warnings []string         `json:"warnings,omitempty"`
}

// Checkpoint stores what tools see now beside the workspace, while they continue to work:
// it is not in any list of workspaces, and the workspace stays as it is. A later checkpoint
// of the same mount replaces it. A commit of the mount, or of one that began with it,
// removes it. Otherwise it stays, and can be read by its URL, or another attempt can begin
// with it (Options.FromCheckpoint). docs/semantics.md says what it contains.
//
// Errors: ErrReadOnly, ErrAbandoned, ErrClosed, ErrServerLost; ErrBusy if tools kept
// changing files, in the views in which they cannot be made to wait; ErrLimit if there is
// no memory for a copy of the changes; ErrCommit, store.ErrUnknown. The mount continues
// after all of them but ErrClosed and ErrServerLost.
func (m *Mount) Checkpoint(ctx context.Context) (Checkpoint, error) {
	return m.checkpoint(ctx, "")
}

// CheckpointWith is Checkpoint with a message for its record, as by SetMessage.
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

// atCheckpoint returns the URL of a checkpoint, without secrets.
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

// Resumed returns the id of the checkpoint with which the mount began, see
// Options.FromCheckpoint; "" if it began with the archive.
func (m *Mount) Resumed() archive.CommitID { return m.resumed }

// checkFrom refuses what cannot name a checkpoint.
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
