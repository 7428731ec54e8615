package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"

	"github.com/workdir/workdir/archive"
)

// Checkpoint is the state of unfinished work, kept beside its workspace. Its key is
// DIR/.workdir-versions/NAME/checkpoint-ID-STEP-BASE, so that lists do not show it as a
// workspace, and its key shows which work it belongs to. URL@ID reads it.
type Checkpoint struct {
	Version // ID is that of the attempt's checkpoint, whatever commit is in its log
	step    string
	base    string
}

// checkpointPrefix distinguishes checkpoints from versions.
const checkpointPrefix = "checkpoint-"

// checkpointName is the last segment of a checkpoint's key.
var checkpointName = regexp.MustCompile(`^` + checkpointPrefix + `([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{16})$`)

// CheckpointKey returns the key of a checkpoint of the workspace: of the work o, based on the
// archive base.
func (u URL) CheckpointKey(id archive.CommitID, o *archive.Origin, base Revision) string {
	return fmt.Sprintf("%s%s%s-%s-%s", versionsOf(u.Key), checkpointPrefix, id, stepDigest(o), shortDigest(string(base)))
}

// OnBase reports whether the work began with the archive of that revision.
func (c *Checkpoint) OnBase(base Revision) bool { return c.base == shortDigest(string(base)) }

// Of reports whether the checkpoint belongs to the step named by o.
func (c *Checkpoint) Of(o *archive.Origin) bool { return c.step == stepDigest(o) }

// Begins reports whether the checkpoint's id begins with some digits of one.
func (c *Checkpoint) Begins(digits string) bool { return strings.HasPrefix(string(c.ID), digits) }

// stepDigest identifies a step; zeros for work that is not a step.
func stepDigest(o *archive.Origin) string {
	id, ok := o.StepID()
	if !ok {
		return "0000000000000000"
	}
	return shortDigest(id.String())
}

func shortDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// Checkpoints returns the checkpoints of a workspace, the newest first.
func (u URL) Checkpoints(ctx context.Context, s Store) ([]Checkpoint, error) {
	infos, err := s.List(ctx, versionsOf(u.Key))
	if err != nil {
		return nil, err
	}
	return checkpointsAmong(u.Key, infos), nil
}

// checkpointsAmong returns the checkpoints of the workspace of a key.
func checkpointsAmong(key string, infos []Info) (found []Checkpoint) {
	prefix := versionsOf(key)
	for _, info := range infos {
		if len(info.Key) <= len(prefix) {
			continue
		}
		if m := checkpointName.FindStringSubmatch(info.Key[len(prefix):]); m != nil {
			found = append(found, Checkpoint{Version{archive.CommitID(m[1]), info}, m[2], m[3]})
		}
	}
	sortVersions(found, func(c Checkpoint) Version { return c.Version })
	return found
}

// ofCheckpoint reports whether the last segment of a key is that of a checkpoint whose id
// begins with start.
func ofCheckpoint(name string, start archive.CommitID) bool {
	m := checkpointName.FindStringSubmatch(name)
	return m != nil && strings.HasPrefix(m[1], string(start))
}
