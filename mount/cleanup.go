package mount

import (
	"context"

	"github.com/workdir/workdir/mount/internal/serve"
)

// CleanUp clears away what killed clients and servers left in the run directory ("":
// DefaultRunDir and PlainRunDir): dead mounts, mountpoints, plain workspaces, records,
// spill directories. It leaves live sessions alone. A run directory that does not exist is
// clean. If ctx ends first, the work continues in the background as long as the process
// lives.
func CleanUp(ctx context.Context, runDir string) error { return serve.CleanUp(ctx, runDir) }
