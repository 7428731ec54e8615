package integration

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Go's own tests of files pass with their temporary files, and the test binaries,
// in a mount of each view whose directory comes from an archive; in the overlay, also in a
// new one. The mountpoint is short, since the tests make sockets there.
func TestGoFileTests(t *testing.T) {
	needRoot(t)
	const short, all = "os path/filepath io/fs archive/tar", "os path/filepath io/fs archive/tar archive/zip"
	for _, test := range []struct{ view, fresh, loaded string }{
		{"overlay", short, all},
		{"fuse", "", all},
	} {
		t.Run(test.view, func(t *testing.T) {
			e := newEnv(t)
			dir := e.mkdir("m")
			for _, packages := range []string{test.fresh, test.loaded} {
				t.Log(mustRun(t, e.command("exec", "--view", test.view, "--dir", dir, e.url("go"), "--",
					"sh", "-c", goFileTests, "sh", packages, skipped(t, "go/"+test.view))))
			}
		})
	}
}

// goFileTests runs the tests of the packages $1, if any, but for $2.
const goFileTests = `
	mkdir -p tmp && cd "$(go env GOROOT)/src" && unset GOTMPDIR GOFLAGS && export TMPDIR=$WORKDIR/tmp
	[ -z "$1" ] || go test -count=1 -skip "$2" $1`

// skipped is the pattern of what is left out of a suite, for go test; "^()$" is no test.
func skipped(t *testing.T, suite string) string {
	t.Helper()
	return "^(" + strings.Join(slices.Sorted(maps.Keys(exclusions(t, suite))), "|") + ")$"
}
