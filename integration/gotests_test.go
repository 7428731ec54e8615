package integration

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// Go's own tests of files pass with their temporary files, and the test binaries,
// in a mount. The mountpoint is short, since the tests make sockets there.
func TestGoFileTests(t *testing.T) {
	needRoot(t)
	e := newEnv(t)
	skip := "^(" + strings.Join(slices.Sorted(maps.Keys(exclusions(t, "go"))), "|") + ")$"
	dir := e.mkdir("m")
	const script = `
		mkdir tmp && cd "$(go env GOROOT)/src" && unset GOTMPDIR GOFLAGS &&
		TMPDIR=$WORKDIR/tmp go test -count=1 -skip "$1" os path/filepath io/fs archive/tar archive/zip`
	t.Log(mustRun(t, e.command("exec", "--dir", dir, e.url("go"), "--", "sh", "-c", script, "sh", skip)))
}
