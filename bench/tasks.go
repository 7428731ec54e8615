package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// group is a table and a plot.
type group struct {
	title, file string
	tasks       []task
}

// task is something that is done in each place, in the order of the groups: some
// need what others have left.
type task struct {
	name string
	// before is what is done first and not measured; nil if there is nothing.
	before func(s *site) error
	// run gives how long it took, in seconds.
	run func(s *site) (float64, error)
}

// site is where a task runs, and with what.
type site struct {
	dir   string // in the place
	stage string // in memory: what tasks read
}

var groups = []group{
	{"Trees", "trees", []task{
		{"tar x", nil, shell(`mkdir "$DIR/go" && tar -C "$DIR/go" -xf "$STAGE/go.tar"`)},
		{"git clone", nil, shell(`git clone -q --no-hardlinks "$STAGE/repo" "$DIR/clone"`)},
		{"cp -a", nil, shell(`cp -a "$DIR/go/src/cmd" "$DIR/copy"`)},
		{"rm -rf", nil, shell(`rm -rf "$DIR/copy"`)},
	}},
	{"Reading, warm", "reading", []task{
		warm("grep -r", `grep -rF 'no such line' "$DIR/go/src/cmd" || true`),
		warm("ls -lR", `ls -lR "$DIR/go" >/dev/null`),
		warm("find", `find "$DIR/go" -size +1M >/dev/null`),
		warm("git status", `cd "$DIR/clone" && git status --short`),
	}},
	{"Builds and databases", "builds", []task{
		{"go build, cold", tools, shell(`cd "$DIR/go/src/cmd" &&
			GOROOT="$DIR/go" GOCACHE="$DIR/cache" GOTOOLCHAIN=local go build -o "$DIR/gofmt" ./gofmt`)},
		{"sqlite, autocommit", nil, shell(`sqlite3 -batch "$DIR/auto.db" <"$STAGE/auto.sql"`)},
		{"sqlite, WAL", nil, shell(`sqlite3 -batch "$DIR/wal.db" <"$STAGE/wal.sql" >/dev/null`)},
		{"sqlite, bulk", nil, shell(`sqlite3 -batch "$DIR/bulk.db" <"$STAGE/bulk.sql"`)},
	}},
	{"Data", "data", []task{
		{"write 1 MiB", nil, fio("--rw=write", "--bs=1M")},
		{"read 1 MiB", nil, fio("--rw=read", "--bs=1M", "--loops=4")},
		{"write 4 KiB, random", nil, fio("--rw=randwrite", "--bs=4k")},
		{"read 4 KiB, random", nil, fio("--rw=randread", "--bs=4k", "--loops=2")},
	}},
	{"Small files", "small", []task{
		{"create", makeDir("empty"), each("empty", func(path string) error { return writeFile(path, nil) })},
		{"create, write 4 KiB", makeDir("full"), each("full", func(path string) error { return writeFile(path, page) })},
		{"stat, first", nil, each("full", statFile)},
		{"stat", nil, each("full", statFile)},
		{"open, read, close", nil, each("full", readFile)},
		{"unlink", nil, each("full", unix.Unlink)},
	}},
}

// taskLimit ends a task that hangs.
const taskLimit = 3 * time.Minute

// script runs a shell script in a site.
func script(s *site, text string) error {
	_, err := s.output(exec.Command("bash", "-ec", text))
	return err
}

// output runs a program in its own process group, which it kills when it takes too
// long, and gives what it printed. What it complained of is in the error.
func (s *site) output(cmd *exec.Cmd) ([]byte, error) {
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.Env = append(os.Environ(), "DIR="+s.dir, "STAGE="+s.stage)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), taskLimit)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // it may have ended just now
	})()
	err := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("not done after %v", taskLimit)
	case err != nil:
		line, _, _ := strings.Cut(strings.TrimSpace(complaint.String()), "\n")
		return nil, fmt.Errorf("%w: %s", err, strings.ReplaceAll(line, s.dir, ""))
	}
	return out.Bytes(), nil
}

// shell is a task that is a shell script, with the place in DIR and what there is
// to read in STAGE.
func shell(text string) func(*site) (float64, error) {
	return func(s *site) (float64, error) {
		return seconds(func() error { return script(s, text) })
	}
}

// warm is a task that was done before, so that the kernel's caches have what it
// needs.
func warm(name, text string) task {
	return task{name, func(s *site) error { return script(s, text) }, shell(text)}
}

// tools completes the tree of Go, so that it can build itself.
func tools(s *site) error {
	return script(s, `from=$(go env GOTOOLDIR) && to="$DIR/go/pkg/tool/$(basename "$from")" &&
		mkdir -p "$to" "$DIR/cache" && cp "$from"/{compile,asm,link} "$to"`)
}

// fio measures with fio on one file of 256 MiB that all of its tasks share.
func fio(options ...string) func(*site) (float64, error) {
	return func(s *site) (float64, error) {
		args := append([]string{"--name=bench", "--filename=" + filepath.Join(s.dir, "fio"), "--size=256M",
			"--ioengine=psync", "--fallocate=none", "--invalidate=0", "--randseed=1", "--output-format=json"}, options...)
		out, err := s.output(exec.Command("fio", args...))
		if err != nil {
			return 0, err
		}
		return fioSeconds(out)
	}
}

// fioSeconds is the time of the reads and writes of fio's report.
func fioSeconds(report []byte) (float64, error) {
	type side struct {
		Bytes float64 `json:"io_bytes"`
		Rate  float64 `json:"bw_bytes"` // a second
	}
	var r struct {
		Jobs []struct{ Read, Write side }
	}
	if start := bytes.IndexByte(report, '{'); start > 0 { // notes come first
		report = report[start:]
	}
	if err := json.Unmarshal(report, &r); err != nil {
		return 0, fmt.Errorf("fio's report: %w", err)
	}
	if len(r.Jobs) != 1 {
		return 0, fmt.Errorf("fio's report: %d jobs", len(r.Jobs))
	}
	total := 0.0
	for _, side := range []side{r.Jobs[0].Read, r.Jobs[0].Write} {
		if side.Rate > 0 {
			total += side.Bytes / side.Rate
		}
	}
	return total, nil
}
