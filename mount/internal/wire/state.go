package wire

import (
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// States of a hosted mount, as Status shows them.
const (
	StateOpening    = "opening"
	StateMounted    = "mounted"
	StateUnmounting = "unmounting"
	StateCommitting = "committing"
	StateClosed     = "closed"
)

// View says how tools see a workspace.
type View string

// The views. Auto is a request; package mount describes the others.
const (
	ViewAuto    View = ""
	ViewOverlay View = "overlay"
	ViewFUSE    View = "fuse"
	ViewPlain   View = "plain"
)

// Progress of opening or committing a workspace.
type Progress struct {
	Phase Phase `json:"phase"`
	Bytes int64 `json:"bytes"`
	Total int64 `json:"total"`
}

// Phase is a phase of opening or committing.
type Phase string

// The phases that report progress.
const (
	PhaseOpening    Phase = "opening"
	PhaseCommitting Phase = "committing"
)

// Result is mount.Result.
type Result struct {
	Stored   bool             `json:"stored"`
	Deleted  bool             `json:"deleted"`
	Merged   bool             `json:"merged,omitempty"`
	Marked   bool             `json:"marked"`
	Revision store.Revision   `json:"revision"`
	CommitID archive.CommitID `json:"commitId,omitempty"`
	Changes  archive.Changes  `json:"changes"`
	Size     int64            `json:"size"`
	Saved    string           `json:"saved,omitempty"`
	Warnings []string         `json:"warnings,omitempty"`
	Traffic  store.Traffic    `json:"traffic,omitempty"`
}

// Status is the server's part of mount.Status.
type Status struct {
	View       View              `json:"view,omitempty"`
	ViewReason string            `json:"viewReason,omitempty"`
	State      string            `json:"state"`
	Revision   store.Revision    `json:"revision"`
	ReadError  string            `json:"readError,omitempty"`
	Base       *BaseStatus       `json:"base,omitempty"`
	Changes    archive.Changes   `json:"changes"`
	Bytes      int64             `json:"bytes"`
	Inodes     int64             `json:"inodes"`
	MaxBytes   int64             `json:"maxBytes"`
	MaxInodes  int64             `json:"maxInodes"`
	ServerPID  int               `json:"serverPid"`
	Opened     time.Time         `json:"opened"`
	Requests   map[string]uint64 `json:"requests,omitempty"`
	Traffic    store.Traffic     `json:"traffic,omitempty"`
}

// BaseStatus is mount.BaseStatus.
type BaseStatus struct {
	Bytes int64 `json:"bytes"`
	Here  int64 `json:"here"`
}
