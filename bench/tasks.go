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

// task is done in each place, in the order of the groups: some need the results of others.
type task struct {
	name string
	// before is unmeasured preparation; may be nil.
	before func(s *site) error
	// run returns how long it took, in seconds.
	run func(s *site) (float64, error)
	// reads says that it changes nothing, so that its second run uses the same files.
	reads bool
}

// site is the environment of a task.
type site struct {
	dir   string // in the place
	stage string // in memory: the tasks' input
	run   string // "" for the first run, "2" for the second; part of the names it makes

	status func() (served, error) // nil where nothing counts requests
}

var groups = []group{
	{"Trees", "trees", []task{
		makes("tar x", `mkdir "$DIR/go$RUN" && tar -C "$DIR/go$RUN" -xf "$STAGE/go.tar"`),
		makes("git clone", `git clone -q --no-hardlinks "$STAGE/repo" "$DIR/clone$RUN"`),
		makes("cp -a", `cp -a "$DIR/go$RUN/src" "$DIR/copy$RUN"`),
		makes("rm -rf", `rm -rf "$DIR/copy$RUN"`),
		makes("npm install", `mkdir "$DIR/npm$RUN" && cd "$DIR/npm$RUN" && echo '{}' >package.json &&
			npm install --offline --no-audit --no-fund --silent --cache "$DIR/npm-cache$RUN" "$STAGE"/packages/*.tgz`),
	}},
	{"Reading, warm", "reading", []task{
		warm("grep -r", `grep -rF 'no such line' "$DIR/go/src" || true`),
		warm("ls -lR", `ls -lR "$DIR/go" >/dev/null`),
		warm("git status", `cd "$DIR/clone" && git status --short`),
	}},
	{"Builds and databases", "builds", []task{
		{name: "go build, cold", before: tools, run: shell(`cd "$DIR/go$RUN/src" &&
			GOROOT="$DIR/go$RUN" GOCACHE="$DIR/cache$RUN" GOTOOLCHAIN=local go build sort`)},
		makes("sqlite, autocommit", `sqlite3 -batch "$DIR/auto$RUN.db" <"$STAGE/auto.sql"`),
		makes("sqlite, WAL", `sqlite3 -batch "$DIR/wal$RUN.db" <"$STAGE/wal.sql" >/dev/null`),
	}},
	{"Data", "data", []task{
		{name: "write 1 MiB", run: fio("--rw=write", "--bs=1M")},
		{name: "read 1 MiB", run: fio("--rw=read", "--bs=1M", "--loops=4"), reads: true},
		{name: "write 4 KiB, random", run: fio("--rw=randwrite", "--bs=4k")},
		{name: "read 4 KiB, random", run: fio("--rw=randread", "--bs=4k", "--loops=2"), reads: true},
	}},
	{"5,000 files of 1 KiB", "small", []task{
		{name: "create and write", before: makeSmallDir, run: each(func(path string) error { return writeFile(path, page) })},
		{name: "stat", run: each(statFile), reads: true},
		{name: "open, read, close", run: each(readFile), reads: true},
		{name: "unlink", run: each(unix.Unlink)},
	}},
}

// makes is a task that creates or removes files: $RUN is part of their names.
func makes(name, text string) task { return task{name: name, run: shell(text)} }

// taskLimit ends a task that hangs.
const taskLimit = 3 * time.Minute

// script runs a shell script in a site.
func script(s *site, text string) error {
	_, err := s.output(exec.Command("bash", "-ec", text))
	return err
}

// output runs a program in its own process group, which it kills if it takes too long, and
// returns its output. Its standard error is in the error.
func (s *site) output(cmd *exec.Cmd) ([]byte, error) {
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	cmd.Env = append(os.Environ(), "DIR="+s.dir, "STAGE="+s.stage, "RUN="+s.run)
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

// shell is a task in form of a shell script, with the place in DIR and the input in STAGE.
func shell(text string) func(*site) (float64, error) {
	return func(s *site) (float64, error) {
		return seconds(func() error { return script(s, text) })
	}
}

// warm is a task that was done before, so that the kernel's caches are warm.
func warm(name, text string) task {
	return task{name: name, before: func(s *site) error { return script(s, text) }, run: shell(text), reads: true}
}

// tools completes the tree of Go, so that it can build itself.
func tools(s *site) error {
	return script(s, `from=$(go env GOTOOLDIR) && to="$DIR/go$RUN/pkg/tool/$(basename "$from")" &&
		mkdir -p "$to" "$DIR/cache$RUN" && cp "$from"/{compile,asm,link} "$to"`)
}

// fio measures with fio on one file of 64 MiB that all of its tasks share.
func fio(options ...string) func(*site) (float64, error) {
	return func(s *site) (float64, error) {
		args := append([]string{"--name=bench", "--filename=" + filepath.Join(s.dir, "fio"+s.run), "--size=64M",
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
