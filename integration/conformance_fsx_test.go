package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/workdir/workdir/internal/testenv"
)

const defaultFsx = 200_000 // operations, of all runs together

// fsxModes are configurations of the fsx crate: those that its users have, and one
// for a file that is there already. The crate takes it for a failure that
// posix_fallocate(3) of no bytes is EINVAL, as it is everywhere.
var fsxModes = []struct{ name, config string }{
	{name: "all", config: `
		[opsize]
		min = 1
		[weights]
		close_open = 1
		invalidate = 1
		truncate = 3
		fsync = 1
		fdatasync = 1
		posix_fallocate = 2
		punch_hole = 3
		sendfile = 3
		posix_fadvise = 1
		copy_file_range = 3`},
	{name: "aligned", config: `
		[opsize]
		align = 4096
		[weights]
		close_open = 1
		truncate = 10
		punch_hole = 10
		copy_file_range = 10`},
	{name: "without msync", config: `
		nomsyncafterwrite = true
		[opsize]
		min = 1
		[weights]
		close_open = 5
		mapwrite = 20
		invalidate = 0
		truncate = 10
		posix_fallocate = 5
		punch_hole = 5`},
	{name: "in place", config: `
		blockmode = true
		nosizechecks = true
		[weights]
		truncate = 0
		punch_hole = 5
		copy_file_range = 5
		sendfile = 5`},
}

// A file in a mount reads as what was written to it, whichever calls wrote; be it
// new, or one from the archive that has not been read yet.
func TestFsx(t *testing.T) {
	first := seed(t)
	ops := testenv.Number(t, fsxVariable, defaultFsx) / (len(fsxModes) * 2)
	onWays(t, func(e *env, w way) {
		url, ops := e.url("fsx"), w.of(ops)
		for _, when := range []string{"new", "from the archive"} {
			e.workBy(w, url, func(dir string) {
				for i, m := range fsxModes {
					e.fsx(filepath.Join(dir, strconv.Itoa(i)), m.name, m.config, first+i, ops)
				}
			})
			first += len(fsxModes)
			e.t.Logf("%s: %d operations for each of %d modes", when, ops, len(fsxModes))
		}
	})
}

// fsx runs one mode on one file. A mode that works in place needs the file.
func (e *env) fsx(path, name, config string, seed, ops int) {
	e.t.Helper()
	if _, err := os.Stat(path); err != nil {
		if err := os.WriteFile(path, []byte(sampleNoise(256<<10)), 0o644); err != nil {
			e.t.Fatal(err)
		}
	}
	file := e.writeFile(config, 0o644, "fsx.toml")
	stdout, stderr, code := run(e.t, e.program(tool(e.t, "fsx"),
		"-N", strconv.Itoa(ops), "-S", strconv.Itoa(seed), "-f", file, "-P", e.root, path))
	if code != 0 || !strings.Contains(stdout, "A-OK") {
		e.t.Errorf("fsx %q with seed %d: exit code %d\n%s", name, seed, code, lastOf(stdout+stderr, 4000))
	}
}

// lastOf returns the end of a long text.
func lastOf(s string, bytes int) string {
	if len(s) <= bytes {
		return s
	}
	return fmt.Sprintf("[%d bytes more]\n%s", len(s)-bytes, s[len(s)-bytes:])
}
