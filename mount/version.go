package mount

import "github.com/workdir/workdir/internal/version"

// Version returns the version of this module from its build information, or "devel".
func Version() string { return version.String() }
