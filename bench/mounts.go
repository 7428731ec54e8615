package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// figures are what was measured of one thing: by place, one for each round; NaN
// where it failed.
type figures map[string][]float64

// mountResults are the figures of all tasks, and of the memory of each file.
type mountResults struct {
	rounds int
	tasks  map[string]figures // by name
	memory figures            // bytes of the server for each file
	failed []string           // what did not work, and why
}

// measureMounts does every task in every place, round after round.
func measureMounts(ctx context.Context, c config) (res mountResults, err error) {
	res = mountResults{tasks: map[string]figures{}, memory: figures{}}
	dir, err := os.MkdirTemp("", "workdir-bench")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	stage := filepath.Join(dir, "stage")
	if err := makeDirs(stage); err != nil {
		return res, err
	}
	memory, err := openTmpfs(c, stage)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, memory.close()) }()
	if err := script(&site{stage: stage}, stageScript); err != nil {
		return res, fmt.Errorf("make the input of the tasks: %w", err)
	}
	for ; c.goesOn(ctx, res.rounds); res.rounds++ {
		fmt.Fprintf(os.Stderr, "mounts: round %d of %d\n", res.rounds+1, c.rounds)
		if err := res.round(c, filepath.Join(dir, fmt.Sprint(res.rounds)), stage); err != nil {
			return res, err
		}
	}
	return res, nil
}

// stageScript makes what the tasks read: the tree of Go as a tar file and its
// commands as a repository, and input for sqlite.
const stageScript = `
tar -C "$(go env GOROOT)" -cf "$STAGE/go.tar" src pkg/include VERSION go.env
mkdir "$STAGE/repo" && cd "$STAGE/repo"
cp -a "$(go env GOROOT)/src/cmd" .
git init -q && git add -A && git -c user.name=bench -c user.email=bench@localhost -c gc.auto=0 commit -qm bench
insert="INSERT INTO t(v) VALUES (hex(randomblob(100)));"
{ echo "CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);"; yes "$insert" | head -n 500; } >"$STAGE/auto.sql"
{ echo "PRAGMA journal_mode=WAL; CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);"; yes "$insert" | head -n 3000; } >"$STAGE/wal.sql"
{ echo "CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT); BEGIN;"; yes "$insert" | head -n 100000; echo "COMMIT;"; } >"$STAGE/bulk.sql"
`

// round measures everything once.
func (res *mountResults) round(c config, dir, stage string) (err error) {
	sites := map[string]*site{}
	for _, p := range places {
		o, err := p.openIn(c, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		defer func() { err = errors.Join(err, o.close()) }()
		sites[p.name] = &site{dir: o.path, stage: stage}
	}
	for _, g := range groups {
		for _, t := range g.tasks {
			fmt.Fprintf(os.Stderr, "  %s\n", t.name)
			for _, p := range places {
				v, err := t.measure(sites[p.name])
				res.add(res.of(t.name), p.name, t.name, v, err)
			}
		}
	}
	return res.memoryRound(c, filepath.Join(dir, "memory"))
}

func (t *task) measure(s *site) (float64, error) {
	if t.before != nil {
		if err := t.before(s); err != nil {
			return 0, err
		}
	}
	return t.run(s)
}

func (p *place) openIn(c config, dir string) (*opened, error) {
	own := filepath.Join(dir, strings.NewReplacer(" ", "-", ",", "").Replace(p.name))
	if err := makeDirs(own); err != nil {
		return nil, err
	}
	return p.open(c, own)
}

func (res *mountResults) of(name string) figures {
	if res.tasks[name] == nil {
		res.tasks[name] = figures{}
	}
	return res.tasks[name]
}

// add notes one figure, or why there is none.
func (res *mountResults) add(f figures, place, what string, v float64, err error) {
	if err != nil {
		v = math.NaN()
		note := fmt.Sprintf("%s: %s: %v", place, what, err)
		if len(f[place]) == 0 {
			res.failed = append(res.failed, note)
		}
		fmt.Fprintln(os.Stderr, "  ", note)
	}
	f[place] = append(f[place], v)
}

// manyFiles is how many files the memory of a server is measured with.
const manyFiles = 20000

// memoryRound measures what the servers of fresh places take for empty files.
func (res *mountResults) memoryRound(c config, dir string) error {
	for _, p := range places {
		o, err := p.openIn(c, dir)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if len(o.servers) > 0 {
			v, err := memoryPerFile(o)
			res.add(res.memory, p.name, "memory", v, err)
		}
		if err := o.close(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// memoryPerFile is what the servers' own memory grows by, in bytes for each file.
func memoryPerFile(o *opened) (float64, error) {
	before, err := ownMemory(o.servers)
	if err != nil {
		return 0, err
	}
	for i := range manyFiles {
		dir := filepath.Join(o.path, fmt.Sprint("directory-", i/1000))
		if i%1000 == 0 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return 0, err
			}
		}
		if err := writeFile(filepath.Join(dir, fmt.Sprintf("file-%08d.go", i)), nil); err != nil {
			return 0, err
		}
	}
	after, err := ownMemory(o.servers)
	return float64(after-before) / manyFiles, err
}

// ownMemory is the sum of the resident memory of processes that no file backs, in
// bytes.
func ownMemory(pids []int) (sum int64, err error) {
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		n, err := statusBytes(string(status), "RssAnon")
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// programs are the versions of what was measured beside us, and measured with.
func programs() []string {
	var lines []string
	for _, p := range [][]string{{"bindfs", "--version"}, {"fuse-overlayfs", "--version"}, {"rclone", "version"},
		{"fio", "--version"}, {"git", "--version"}, {"go", "version"}} {
		lines = append(lines, versionLine(p[0], p[1:]...))
	}
	return append(lines, "sqlite "+versionLine("sqlite3", "--version"))
}
