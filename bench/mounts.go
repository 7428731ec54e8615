package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// figures are the measurements of one thing: by place, one for each round; NaN if it failed.
type figures map[string][]float64

// mountResults are the figures of all tasks, and of the memory of each file.
type mountResults struct {
	rounds int
	tasks  map[string]figures // by name
	trips  map[string]figures // round trips of the second run, of places that count them
	views  map[string]string  // by place: the server, as it reports itself
	memory figures            // bytes of the server for each file
	failed []string           // what did not work, and why
}

// measureMounts does every task in every place, round after round.
func measureMounts(ctx context.Context, c config) (res mountResults, err error) {
	res = mountResults{tasks: map[string]figures{}, trips: map[string]figures{}, views: map[string]string{}, memory: figures{}}
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

// stageScript creates the input of the tasks: the tree of Go as a tar file and its commands as
// a repository, and input for sqlite.
const stageScript = `
tar -C "$(go env GOROOT)" --exclude=src/cmd --exclude=testdata --exclude='*_test.go' -cf "$STAGE/go.tar" src pkg/include VERSION go.env
mkdir "$STAGE/repo" "$STAGE/packages" && cd "$STAGE/packages"
root="$(go env GOROOT)/src"
for from in net os go/types runtime crypto/tls reflect encoding/json text/template net/http time; do
	name=go-$(echo "$from" | tr / -)
	mkdir -p "$name/package" && cp "$root/$from"/*.go "$name/package"
	echo "{\"name\": \"$name\", \"version\": \"1.0.0\"}" >"$name/package/package.json"
	tar -C "$name" -czf "$name.tgz" package && rm -r "$name"
done
cd "$STAGE/repo"
tar -xf "$STAGE/go.tar"
git init -q && git add -A && git -c user.name=bench -c user.email=bench@localhost -c gc.auto=0 commit -qm bench
insert="INSERT INTO t(v) VALUES (hex(randomblob(100)));"
{ echo "CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);"; yes "$insert" | head -n 300; } >"$STAGE/auto.sql"
{ echo "PRAGMA journal_mode=WAL; CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);"; yes "$insert" | head -n 3000; } >"$STAGE/wal.sql"
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
		sites[p.name] = &site{dir: o.path, stage: stage, status: o.status}
	}
	for _, g := range groups {
		for _, t := range g.tasks {
			fmt.Fprintf(os.Stderr, "  %s\n", t.name)
			for _, p := range places {
				v, err := t.measure(sites[p.name])
				res.add(res.of(t.name), p.name, t.name, v, err)
				if err == nil && sites[p.name].status != nil {
					n, err := t.repeat(sites[p.name])
					res.add(figuresOf(res.trips, t.name), p.name, t.name+", round trips", n, err)
				}
			}
		}
	}
	if err := res.noteViews(sites); err != nil {
		return err
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

// repeat counts the round trips of a second run of a task: in a new directory if it creates
// files, and with the files of the first run if it only reads.
func (t *task) repeat(s *site) (float64, error) {
	second := *s
	if !t.reads {
		second.run = "2"
	}
	if t.before != nil {
		if err := t.before(&second); err != nil {
			return 0, err
		}
	}
	first, err := s.status()
	if err != nil {
		return 0, err
	}
	if _, err := t.run(&second); err != nil {
		return 0, err
	}
	last, err := s.status()
	return float64(last.total()) - float64(first.total()), err
}

// noteViews asks each mount of ours for its view, so that a fallback shows.
func (res *mountResults) noteViews(sites map[string]*site) error {
	for name, s := range sites {
		if s.status == nil {
			continue
		}
		now, err := s.status()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		view := cmp.Or(now.View, "FUSE, the only one then")
		if was := res.views[name]; was != "" && was != view {
			view = was + " and " + view
		}
		res.views[name] = view
	}
	return nil
}

func (res *mountResults) of(name string) figures { return figuresOf(res.tasks, name) }

func figuresOf(all map[string]figures, name string) figures {
	if all[name] == nil {
		all[name] = figures{}
	}
	return all[name]
}

// add records one figure, or why it is missing.
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

// manyFiles is the number of files with which the memory of a server is measured.
const manyFiles = 20000

// memoryRound measures the memory of the servers of fresh places for empty files.
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

// memoryPerFile is the growth of the servers' own memory, in bytes for each file.
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

// ownMemory is the total anonymous resident memory, in bytes, of processes and their children.
func ownMemory(pids []int) (sum int64, err error) {
	for _, pid := range pids {
		dir := fmt.Sprintf("/proc/%d", pid)
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			return 0, err
		}
		own, err := statusBytes(string(status), "RssAnon")
		if err != nil {
			return 0, err
		}
		children, err := childrenOf(dir)
		if err != nil {
			return 0, err
		}
		theirs, err := ownMemory(children)
		if err != nil {
			return 0, err
		}
		sum += own + theirs
	}
	return sum, nil
}

// childrenOf returns the children of a process, of all its threads, by its directory in
// proc(5). A thread that ends leaves its children to another one.
func childrenOf(dir string) (pids []int, err error) {
	lists, err := filepath.Glob(filepath.Join(dir, "task", "*", "children"))
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, field := range strings.Fields(string(b)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	return pids, err
}

// programs are the versions of the programs compared and used.
func programs() []string {
	var lines []string
	for _, p := range [][]string{{"bindfs", "--version"}, {"fuse-overlayfs", "--version"}, {"rclone", "version"}, {"juicefs", "--version"}, {"npm", "--version"},
		{"fio", "--version"}, {"git", "--version"}, {"go", "version"}} {
		lines = append(lines, versionLine(p[0], p[1:]...))
	}
	return append(lines, "sqlite "+versionLine("sqlite3", "--version"))
}
