package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"
)

// MaxResult is the maximum size of a record's result, bytes: as much as Temporal accepts for
// one payload by default (limit.blobSize.error).
const MaxResult = 2 << 20

// MaxResults is the maximum total size of a log's results, bytes. Beyond it the oldest are
// dropped.
const MaxResults = 4 << 20

// Origin identifies the work that a commit belongs to. The zero value is unidentified work.
//
// Workspace, Execution, Scheduled and Step together name a step: a piece of work that
// takes effect once, however often it is tried. The other fields are for the reader of
// a log.
type Origin struct {
	// Workspace is the workspace that the commit was made for: scheme://bucket/key. The
	// records of a copy keep naming the original workspace.
	Workspace string `json:"workspace,omitempty"`
	// Execution is an identity that no other execution of the same Scheduled has; "" means
	// that the work is not a step, and may be done any number of times.
	Execution string `json:"execution,omitempty"`
	// Scheduled is when the execution was scheduled, the same for all its attempts; it
	// distinguishes executions whose names are reused. Logs keep milliseconds, which all of
	// Temporal's SDKs have. Zero means unknown, and then only the names count.
	Scheduled time.Time `json:"scheduled,omitzero"`
	// Step distinguishes the pieces of work of one execution in a workspace.
	Step string `json:"step,omitempty"`
	// Attempt counts from 1; 0 means unknown.
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
	scheduled int64    // milliseconds since 1970; 0 means unknown
}

// StepID returns the identity of the step; false if the work is not a step.
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

// String returns a text that no other step has.
func (s StepID) String() string { return fmt.Sprintf("%x-%d", s.names, s.scheduled) }

// scheduled returns Scheduled in its stored form: milliseconds since 1970, 0 for the zero
// time.
func (o *Origin) scheduled() int64 {
	if o.Scheduled.IsZero() {
		return 0
	}
	return o.Scheduled.UnixMilli()
}

// setScheduled is the inverse of scheduled.
func (o *Origin) setScheduled(ms int64) {
	o.Scheduled = time.Time{}
	if ms != 0 {
		o.Scheduled = time.UnixMilli(ms).UTC()
	}
}

// mayBe reports whether two steps may be the same: they have the same names, and the same time
// unless one of the times is unknown.
func (s StepID) mayBe(other StepID) bool {
	return s.names == other.names && (s.scheduled == other.scheduled || s.scheduled == 0 || other.scheduled == 0)
}
