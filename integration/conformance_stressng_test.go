package integration

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/workdir/workdir/internal/testenv"
)

// stressors of stress-ng that CI runs: those that verify file content or names.
// "make conformance" runs the whole class.
var stressors = []string{
	"access", "chdir", "chmod", "copy-file", "dentry", "dir", "dup", "fallocate", "filename", "flock", "fpunch", "fsize",
	"fstat", "getdent", "hdd", "iomix", "link", "lockf", "lockofd", "open", "rename", "symlink", "touch", "utime", "xattr",
}

// stressNgSeconds is for how long all of them run at once; the class runs one
// after another.
const stressNgSeconds = 6

// stressNgFailure is the exit code of stress-ng if a stressor failed, stress-ng(1).
const stressNgFailure = 2

// No verification of stress-ng fails in a mount that does not fail on tmpfs.
func TestStressNg(t *testing.T) {
	needRoot(t)
	var want map[string][]string
	t.Run("tmpfs", func(t *testing.T) {
		e := newEnv(t)
		want = e.stressNg(memoryDir(t))
	})
	onWays(t, func(e *env, w way) {
		e.workBy(w, e.url("stress-ng"), func(dir string) {
			got := e.stressNg(dir)
			for _, name := range slices.Sorted(maps.Keys(got)) {
				if len(want[name]) == 0 {
					e.t.Errorf("%s:\n%s", name, strings.Join(got[name], "\n"))
				}
			}
		}, "--dir", e.mkdir("m"))
	})
}

// stressNg runs stress-ng in a directory, and returns what it found wrong, by
// stressor.
func (e *env) stressNg(dir string) map[string][]string {
	e.t.Helper()
	args := []string{"--verify", "--temp-path", dir, "-v"}
	seconds := testenv.Number(e.t, stressNgVariable, 0)
	if seconds > 0 {
		args = append(args, "--class", "filesystem", "--sequential", "1", "-t", strconv.Itoa(seconds))
		if excluded := slices.Sorted(maps.Keys(exclusions(e.t, "stress-ng"))); len(excluded) > 0 {
			args = append(args, "-x", strings.Join(excluded, ","))
		}
	} else {
		for _, name := range stressors {
			args = append(args, "--"+name, "1")
		}
		args = append(args, "-t", strconv.Itoa(stressNgSeconds))
	}
	cmd := e.program("stress-ng", args...)
	cmd.Dir = e.mkdir("work")
	stdout, stderr, code := run(e.t, cmd)
	failures, started := failuresOf(stdout + stderr)
	if code == stressNgFailure && len(failures) == 0 {
		failures["stress-ng"] = []string{lastOf(stdout+stderr, 4000)}
	}
	e.t.Logf("exit code %d, %d stressors started, failures: %v", code, started, failures)
	if started < len(stressors) {
		e.t.Fatalf("stress-ng started %d stressors:\n%s", started, lastOf(stdout+stderr, 4000))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		e.t.Logf("left in %s: %v, %v", filepath.Base(dir), left, err)
	}
	return failures
}

// Lines of stress-ng, such as
//
//	stress-ng: fail:  [123] fstat: stat on ./file failed, errno=2 (No such file or directory)
//	stress-ng: debug: [123] fstat: started [124] (instance 0)
var (
	stressNgFailed  = regexp.MustCompile(`fail: +\[\d+\] ([a-z0-9-]+): (.*)`)
	stressNgStarted = regexp.MustCompile(`debug: +\[\d+\] ([a-z0-9-]+): started`)
)

func failuresOf(output string) (failures map[string][]string, started int) {
	failures = map[string][]string{}
	for _, m := range stressNgFailed.FindAllStringSubmatch(output, -1) {
		failures[m[1]] = append(failures[m[1]], m[2])
	}
	return failures, len(stressNgStarted.FindAllString(output, -1))
}
