package integration

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/workdir/workdir/internal/testenv"
)

// Conformance suites take their figures from the environment: small ones by
// default, so that every run has them, and large ones in "make conformance".
const (
	fsxVariable      = "WORKDIR_INTEGRATION_FSX"          // operations
	stressVariable   = "WORKDIR_INTEGRATION_STRESS"       // operations
	stressNgVariable = "WORKDIR_INTEGRATION_STRESSNG"     // seconds for each stressor, of all
	sqliteVariable   = "WORKDIR_INTEGRATION_SQLITE_KILLS" // of each journal mode
)

// way is how a mount serves: by a view, and with what cache of the archive.
type way struct {
	name  string
	view  string
	share int                   // of the operations of a random suite, in parts of wayShares
	flags func(e *env) []string // for exec, as root, beside the view
}

// ways that root can choose: each view; and each with a cache that holds no segment of the
// archive longer than it is read, so that all content which nobody has changed is read and
// decompressed again and again. The FUSE view then spills what it has not in memory to
// disk. The overlay, which is what users get, has more of the operations.
var ways = []way{
	{name: "overlay", view: "overlay", share: 4, flags: func(*env) []string { return nil }},
	{name: "overlay, dropped cache", view: "overlay", share: 2, flags: func(*env) []string { return []string{"--cache-bytes", "1"} }},
	{name: "fuse", view: "fuse", share: 1, flags: func(*env) []string { return nil }},
	{name: "fuse, dropped cache", view: "fuse", share: 1, flags: func(e *env) []string {
		return []string{"--spill", e.mkdir("spill"), "--cache-bytes", "1"}
	}},
}

const wayShares = 8 // of all ways together

// of is the way's part of n.
func (w way) of(n int) int { return max(1, n*w.share/wayShares) }

// without is how the names begin of the operations that the way refuses as tmpfs does, see
// zero-range in docs/semantics.md.
func (w way) without() string {
	if w.view == "overlay" {
		return tmpfsLacks
	}
	return ""
}

const tmpfsLacks = "zero"

// onWays runs a test for each way, in an env of its own.
func onWays(t *testing.T, test func(e *env, w way)) {
	t.Helper()
	needRoot(t)
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) { test(newEnv(t), w) })
	}
}

// workBy is work in a mount that serves in that way.
func (e *env) workBy(w way, url string, fn func(dir string), flags ...string) {
	e.t.Helper()
	e.work(url, fn, append(append(w.flags(e), "--view", w.view), flags...)...)
}

// tool is a program that scripts/deps.sh builds.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "build", "tools", "bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v: run scripts/deps.sh test", err)
	}
	return path
}

// seed returns the seed of a random test, and prints it.
func seed(t *testing.T) int {
	t.Helper()
	n := testenv.Number(t, seedVariable, int(time.Now().UnixNano()&0xffffffff))
	t.Logf("%s=%d", seedVariable, n)
	return n
}

// writeFile writes a file of the test's own.
func (e *env) writeFile(content string, mode os.FileMode, elem ...string) string {
	e.t.Helper()
	path := e.path(elem...)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		e.t.Fatal(err)
	}
	return path
}
