package mount

import "github.com/workdir/workdir/mount/internal/host"

// DefaultRunDir returns /run/workdir for root and /run/user/UID/workdir for others or,
// where these cannot be made, /tmp/workdir-UID.
func DefaultRunDir() string { return host.DefaultRunDir() }

// PlainRunDir returns the run directory of plain workspaces, /tmp/workdir-UID. Their
// content lies in it, and /run is in memory, small, and often mounted noexec.
func PlainRunDir() string { return host.PlainRunDir() }
