// Package errtype has the types of the application errors by which activities in
// workspaces fail, for retry policies (NonRetryableErrorTypes), and for workflows that
// look at an error's type and details. It imports nothing that mounts.
//
// docs/errors.md says what each means, and which are retried.
package errtype

import "time"

// Types of application errors.
const (
	Plugin           = "workdir.Plugin"
	Fenced           = "workdir.Fenced"
	Step             = "workdir.Step"
	AlreadyCommitted = "workdir.AlreadyCommitted"
	Unknown          = "workdir.Unknown"
	Conflict         = "workdir.Conflict"
	ServerLost       = "workdir.ServerLost"
	Busy             = "workdir.Busy"
	Unmounted        = "workdir.Unmounted"
	Closed           = "workdir.Closed"
	Portable         = "workdir.Portable"
	Commit           = "workdir.Commit"
	Limit            = "workdir.Limit"
	Format           = "workdir.Format"
	URL              = "workdir.URL"
	Host             = "workdir.Host"
	NotAllowed       = "workdir.NotAllowed"
	NotArchive       = "workdir.NotArchive"
	NotConditional   = "workdir.NotConditional"
	Unreachable      = "workdir.Unreachable"
	Full             = "workdir.Full"
	NotExist         = "workdir.NotExist"
	NoVersion        = "workdir.NoVersion"
	Rewind           = "workdir.Rewind"
	Exist            = "workdir.Exist"
	Other            = "workdir.Other"
	// Input: what a workflow or the options ask for makes no sense. It is not retried.
	Input = "workdir.Input"
	// Exit: a command that was asked to fail the activity did not exit with 0. The
	// details are its ready.ExecResult.
	Exit = "workdir.Exit"
)

// ConflictDetails are the details of an error of type Conflict.
type ConflictDetails struct {
	URL  string `json:"url"`  // without secrets
	Want string `json:"want"` // what was opened; "" for no archive
	Have string `json:"have"` // what is there instead; "" for no archive, or not known
	// By are the commits that came in between, newest first, some at most;
	// none where the archive that is there has no log.
	By      []CommitDetails `json:"by,omitempty"`
	Further int             `json:"further,omitempty"` // how many more there are
}

// CommitDetails say who committed, and how much changed. What is not known is empty.
type CommitDetails struct {
	CommitID     string    `json:"commitId"`
	Time         time.Time `json:"time"`
	Host         string    `json:"host,omitempty"`
	Worker       string    `json:"worker,omitempty"`
	WorkflowID   string    `json:"workflowId,omitempty"`
	RunID        string    `json:"runId,omitempty"`
	ActivityID   string    `json:"activityId,omitempty"`
	ActivityType string    `json:"activityType,omitempty"`
	Execution    string    `json:"execution,omitempty"` // of work that is no activity
	Attempt      int32     `json:"attempt,omitempty"`
	Created      int64     `json:"created"` // entries, as are the next two
	Modified     int64     `json:"modified"`
	Removed      int64     `json:"removed"`
	Bytes        int64     `json:"bytes"` // content of the created and modified files
}

// AlreadyCommittedDetails are the details of an error of type AlreadyCommitted.
type AlreadyCommittedDetails struct {
	URL      string `json:"url"` // without secrets
	CommitID string `json:"commitId"`
	Attempt  int32  `json:"attempt"` // which committed
	Revision string `json:"revision"`
}
