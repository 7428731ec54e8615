package mount

import "github.com/workdir/workdir/internal/version"

// Version of this module as the build knows it, or "devel".
func Version() string { return version.String() }
