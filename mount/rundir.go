package mount

import "github.com/workdir/workdir/mount/internal/host"

// DefaultRunDir is /run/workdir for root and /run/user/UID/workdir for others,
// or, where those cannot be, /tmp/workdir-UID.
func DefaultRunDir() string { return host.DefaultRunDir() }

// PlainRunDir is the run directory of plain workspaces, /tmp/workdir-UID: their content
// lies in it, and /run is in memory, small, and often forbids to execute what is in it.
func PlainRunDir() string { return host.PlainRunDir() }
