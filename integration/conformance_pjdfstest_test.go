package integration

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Users and features configured for pjdfstest. The users are those that every Debian has.
const pjdfstestConfig = `
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.01
allow_remount = true
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"], ["bin", "bin"]]
`

// mount(8) leaves the remounting of FUSE file systems to a helper, which wants to
// run the server again; --internal-only leaves it to the kernel.
const mountItself = `#!/bin/sh
PATH=${PATH#*:}
exec mount --internal-only "$@"
`

// Every test of pjdfstest that holds on tmpfs holds in a mount, and none is
// skipped that is not skipped on tmpfs; in a new workspace, and in directories that an
// archive holds.
func TestPjdfstest(t *testing.T) {
	needRoot(t)
	var want map[string]string
	t.Run("tmpfs", func(t *testing.T) {
		e := newEnv(t)
		dir := e.mkdir("m")
		mustRun(t, e.program("mount", "-t", "tmpfs", "tmpfs", dir))
		defer func() { mustRun(t, e.program("umount", dir)) }()
		want = e.pjdfstest(dir)
	})
	onWays(t, func(e *env, w way) {
		for _, when := range []string{"new", "from the archive"} {
			e.workBy(w, e.url("pjdfstest"), func(dir string) {
				got := e.pjdfstest(dir)
				for _, name := range slices.Sorted(maps.Keys(want)) {
					if e.excluded("pjdfstest/"+w.view, name) {
						continue
					}
					if got[name] != "ok" && got[name] != want[name] {
						e.t.Errorf("%s: %s: %q, on tmpfs %q", when, name, got[name], want[name])
					}
				}
			}, "--dir", e.mkdir("m"), "--allow-other", "--suid", "--dev")
		}
	})
}

// pjdfstest runs the suite in a mount of its own, and returns how each test ended.
func (e *env) pjdfstest(mountpoint string) map[string]string {
	e.t.Helper()
	dir := filepath.Join(mountpoint, "p")
	for _, err := range []error{os.MkdirAll(dir, 0o755), os.Chmod(e.root, 0o755)} { // other users must get there
		if err != nil {
			e.t.Fatal(err)
		}
	}
	e.mkdir("bin")
	e.writeFile(mountItself, 0o755, "bin", "mount")
	config := e.writeFile(pjdfstestConfig, 0o644, "pjdfstest.toml")
	args := []string{"-c", config, "-p", dir, "-s", memoryDir(e.t)}

	// Tests of read-only mounts change the mount of all the others, so they run by
	// themselves.
	results := e.pjdfstestResults(append(args, "erofs"))
	readOnly := len(results)
	rest := strings.Replace(pjdfstestConfig, "allow_remount = true", "allow_remount = false", 1)
	e.writeFile(rest, 0o644, "pjdfstest.toml")
	for name, result := range e.pjdfstestResults(args) {
		if _, done := results[name]; !done {
			results[name] = result
		}
	}
	const least = 390 // of version 0.2.2, which has 398
	if len(results) < least || readOnly == 0 {
		e.t.Fatalf("pjdfstest ran %d tests, %d of them for read-only mounts: its output is not understood", len(results), readOnly)
	}
	e.summarise(results)
	return results
}

func (e *env) pjdfstestResults(args []string) map[string]string {
	e.t.Helper()
	cmd := e.program(tool(e.t, "pjdfstest"), args...)
	cmd.Env = append(cmd.Env, "PATH="+e.path("bin")+":"+os.Getenv("PATH"))
	stdout, stderr, code := run(e.t, cmd)
	results := map[string]string{}
	for line := range strings.Lines(stdout) {
		fields := strings.Fields(line)
		if len(fields) == 2 && strings.Contains(fields[0], "::") && slices.Contains([]string{"ok", "skipped", "FAILED"}, fields[1]) {
			results[fields[0]] = fields[1]
		}
	}
	if code != 0 {
		e.t.Logf("pjdfstest: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	return results
}

// summarise prints how many tests ended how, and which of them not well.
func (e *env) summarise(results map[string]string) {
	counts := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(results)) {
		counts[results[name]]++
		if results[name] != "ok" {
			e.t.Logf("%s: %s", name, results[name])
		}
	}
	e.t.Logf("of %d tests: %v", len(results), counts)
}
