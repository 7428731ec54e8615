// Package version knows the version of this module.
package version

import "runtime/debug"

// release is the version of a release, which its build sets (scripts/release.sh).
var release string

// String returns the version of this module as the build knows it, or "devel".
func String() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	const path = "github.com/workdir/workdir"
	for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if m.Path == path && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "devel"
}
