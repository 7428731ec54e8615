package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// MaxResult is the size of the largest result that a record can have, bytes: as
// much as Temporal takes for one payload by default (limit.blobSize.error).
const MaxResult = 2 << 20

// MaxResults is what the results of a log may take in all, bytes. Beyond it the
// oldest are dropped.
const MaxResults = 4 << 20

// Origin tells whose work a commit is. The zero value is work that nobody named.
//
// Workspace, Execution, Scheduled and Step together name a step: a piece of work that
// takes effect once, however often it is tried. The other fields are for the reader of
// a log.
type Origin struct {
	// Workspace is what the commit was made for: scheme://bucket/key. The records
	// of a copy go on naming the workspace that was copied.
	Workspace string `json:"workspace,omitempty"`
	// Execution is an identity that no other execution of the same Scheduled has; ""
	// means that the work is no step of anything, and may be done any number of times.
	Execution string `json:"execution,omitempty"`
	// Scheduled is when the execution was scheduled, the same for all its attempts; it
	// distinguishes executions whose names are used again. Logs keep milliseconds,
	// which all of Temporal's SDKs have. Zero: not known, and the names alone count.
	Scheduled time.Time `json:"scheduled,omitzero"`
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

// StepID identifies a step.
type StepID struct {
	names     [16]byte // the beginning of a SHA-256 of workspace, execution and step
	scheduled int64    // milliseconds since 1970; 0 is not known
}

// StepID returns the identity of the step; false where the work is none.
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
	return StepID{names: [16]byte(sum[:16]), scheduled: o.scheduled()}, true
}

// scheduled returns Scheduled as it is kept: milliseconds since 1970, 0 for the zero
// time.
func (o *Origin) scheduled() int64 {
	if o.Scheduled.IsZero() {
		return 0
	}
	return o.Scheduled.UnixMilli()
}

// setScheduled is the reverse of scheduled.
func (o *Origin) setScheduled(ms int64) {
	o.Scheduled = time.Time{}
	if ms != 0 {
		o.Scheduled = time.UnixMilli(ms).UTC()
	}
}

// mayBe reports whether two steps have the same names, and times that do not say
// that they are different ones: a time that is not known says nothing.
func (s StepID) mayBe(other StepID) bool {
	return s.names == other.names && (s.scheduled == other.scheduled || s.scheduled == 0 || other.scheduled == 0)
}
