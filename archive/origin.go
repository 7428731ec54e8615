package archive

import (
	"crypto/sha256"
	"encoding/binary"
)

// MaxResult is the size of the largest result that a record can have, bytes: as
// much as Temporal takes for one payload by default (limit.blobSize.error).
const MaxResult = 2 << 20

// MaxResults is what the results of a log may take in all, bytes. Beyond it the
// oldest are dropped.
const MaxResults = 4 << 20

// Origin tells whose work a commit is. The zero value is work that nobody named.
//
// Workspace, Execution and Step together name a step: a piece of work that takes
// effect once, however often it is tried. The other fields are for the reader of
// a log.
type Origin struct {
	// Workspace is what the commit was made for: scheme://bucket/key. The records
	// of a copy go on naming the workspace that was copied.
	Workspace string `json:"workspace,omitempty"`
	// Execution is an identity that no other execution has; "" means that the work
	// is no step of anything, and may be done any number of times.
	Execution string `json:"execution,omitempty"`
	// Step tells the pieces of work apart that one execution does in a workspace.
	Step string `json:"step,omitempty"`
	// Attempt counts from 1; 0 is not known.
	Attempt int32 `json:"attempt,omitempty"`

	Namespace    string `json:"namespace,omitempty"`
	WorkflowID   string `json:"workflowId,omitempty"`
	RunID        string `json:"runId,omitempty"` // of the workflow, or of a standalone activity
	WorkflowType string `json:"workflowType,omitempty"`
	ActivityID   string `json:"activityId,omitempty"`
	ActivityType string `json:"activityType,omitempty"`
	TaskQueue    string `json:"taskQueue,omitempty"`
	Worker       string `json:"worker,omitempty"` // identity of the worker process
}

// StepID identifies a step: the beginning of a SHA-256 of its three names.
type StepID [16]byte

// StepID gives the identity of the step; false where the work is none.
func (o *Origin) StepID() (StepID, bool) {
	if o.Execution == "" {
		return StepID{}, false
	}
	b := make([]byte, 0, 512)
	for _, s := range [...]string{o.Workspace, o.Execution, o.Step} {
		b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	sum := sha256.Sum256(b)
	return StepID(sum[:16]), true
}
