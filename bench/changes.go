package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The cost of opening before anything is read, and of a commit that changes little, compared
// with programs that open an archive in place, and programs that keep a history of a directory
// by its changes.

// workload is a synthetic tree.
type workload struct {
	files int
	bytes int64 // of all files together
}

func (w workload) String() string {
	return fmt.Sprintf("%d files, %d MB", w.files, w.bytes/1e6)
}

// parseWorkloads reads FILES:MEGABYTES, separated by commas.
func parseWorkloads(s string) ([]workload, error) {
	var all []workload
	for _, one := range strings.Split(s, ",") {
		files, megabytes, _ := strings.Cut(one, ":")
		n, err := strconv.Atoi(files)
		mb, err2 := strconv.ParseInt(megabytes, 10, 64)
		if err = errors.Join(err, err2); err != nil || n < 1 || mb < 1 {
			return nil, fmt.Errorf("-workloads %q: want FILES:MEGABYTES, such as 13000:400", one)
		}
		all = append(all, workload{n, mb * 1e6})
	}
	return all, nil
}

// filesPerDir is the number of files in a directory of a workload.
const filesPerDir = 100

// path returns the path of file i.
func (w workload) path(i int) string {
	return fmt.Sprintf("d%03d/d%04d/f%06d", i/filesPerDir/100, i/filesPerDir, i)
}

// make creates the tree: text that compresses to about a third, and in every tenth file
// incompressible bytes.
func (w workload) make(dir string) error {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4096)
	for i := range words {
		words[i] = strconv.FormatUint(r.Uint64()>>20, 36) + " "
	}
	size := int(w.bytes / int64(w.files))
	buf := make([]byte, 0, size+16)
	for i := range w.files {
		buf = buf[:0]
		for len(buf) < size {
			if i%10 == 9 {
				buf = append(buf, byte(r.Uint32()))
			} else {
				buf = append(buf, words[r.IntN(len(words))]...)
			}
		}
		path := filepath.Join(dir, w.path(i))
		if err := makeDirs(filepath.Dir(path)); err != nil {
			return err
		}
		if err := os.WriteFile(path, buf[:size], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// changeTask is one task, for all keepers that support it.
type changeTask struct {
	name   string
	change func(w workload) string // a shell command in the tree; "" if it only reads
	reads  func(w workload) string // the same for programs that open the archive to read
}

const readEverything = "open, read everything"

var changeTasks = []changeTask{
	{name: "open, list the root", reads: func(workload) string { return "ls >/dev/null" }},
	{name: "open, read the first file", reads: func(w workload) string { return "head -c 1 " + w.path(0) + " >/dev/null" }},
	{name: "open, read the last file", reads: func(w workload) string { return "cat " + w.path(w.files-1) + " >/dev/null" }},
	{name: readEverything, reads: func(workload) string { return "find . -type f -print0 | xargs -0 cat >/dev/null" }},
	{name: "commit nothing", change: func(workload) string { return "true" }},
	{name: "commit one appended line", change: func(w workload) string { return "echo line >>" + w.path(w.files/2) }},
	{name: "commit 10 changed files", change: func(w workload) string { return appendTo(w, 10) }},
	{name: "commit 100 changed files", change: func(w workload) string { return appendTo(w, 100) }},
	{name: "commit a renamed directory", change: func(w workload) string {
		d := filepath.Dir(w.path(w.files / 3))
		return "if [ -e " + d + " ]; then mv " + d + " " + d + "x; else mv " + d + "x " + d + "; fi"
	}},
}

// appendTo appends a line to n files that lie far from each other.
func appendTo(w workload, n int) string {
	var paths []string
	for i := range n {
		path := w.path((i*w.files + w.files/2) / n % w.files)
		if filepath.Dir(path) != filepath.Dir(w.path(w.files/3)) { // which has another name at times
			paths = append(paths, path)
		}
	}
	return "for f in " + strings.Join(paths, " ") + "; do echo line >>$f; done"
}

// cost is the cost of one task.
type cost struct {
	wall, processor float64
	written         int64 // bytes sent to the store, or growth of the repository; -1 if unknown
	requests        int64 // of a store that is a network away; 0 elsewhere
}

// keeper is a program that keeps a tree, and supports some of the tasks.
type keeper interface {
	name() string
	create(tree string) error
	// do does a task; errors.ErrUnsupported if it cannot.
	do(t changeTask, w workload) (cost, error)
}

// measureChanges runs the tasks.
func measureChanges(ctx context.Context, c config, b *strings.Builder) error {
	loads, err := parseWorkloads(c.workloads)
	if err != nil {
		return err
	}
	b.WriteString("## Opening, and committing what changed\n\nProcessor time of all processes, their starts included; in brackets the time that passed and, where known, what was written to the store or repository. Medians; all took turns.\n\n")
	for _, w := range loads {
		if err := measureWorkload(ctx, c, w, b); err != nil {
			return fmt.Errorf("%v: %w", w, err)
		}
	}
	return nil
}

func measureWorkload(ctx context.Context, c config, w workload, b *strings.Builder) (err error) {
	dir, err := os.MkdirTemp("", "workdir-bench")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tree := filepath.Join(dir, "tree")
	if err := w.make(tree); err != nil {
		return err
	}
	keepers := keepersOf(c, dir)
	far, stop, err := farKeepers(ctx, c, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	keepers = append(keepers, far...)
	for _, k := range keepers {
		if err := k.create(tree); err != nil {
			return fmt.Errorf("%s: %w", k.name(), err)
		}
	}
	costs := map[string][]cost{}
	rounds := 0
	for ; c.goesOn(ctx, rounds); rounds++ {
		for _, t := range changeTasks {
			for _, k := range keepers {
				got, err := k.do(t, w)
				if errors.Is(err, errors.ErrUnsupported) {
					continue
				}
				if err != nil {
					return fmt.Errorf("%s: %s: %w", k.name(), t.name, err)
				}
				key := t.name + "\x00" + k.name()
				costs[key] = append(costs[key], got)
			}
		}
	}
	renderChanges(b, w, rounds, keepers, costs)
	return nil
}

func renderChanges(b *strings.Builder, w workload, rounds int, keepers []keeper, costs map[string][]cost) {
	fmt.Fprintf(b, "### %v (%d rounds)\n\n|", w, rounds)
	for _, k := range keepers {
		b.WriteString(" | " + k.name())
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---:", len(keepers)) + "|\n")
	for _, t := range changeTasks {
		b.WriteString("| " + t.name)
		for _, k := range keepers {
			b.WriteString(" | " + formatCosts(costs[t.name+"\x00"+k.name()]))
		}
		b.WriteString(" |\n")
	}
	b.WriteString("\n")
}

func formatCosts(all []cost) string {
	if len(all) == 0 {
		return "–"
	}
	pick := func(value func(cost) float64) float64 {
		var values []float64
		for _, c := range all {
			values = append(values, value(c))
		}
		return median(values)
	}
	notes := []string{fmt.Sprintf("%.2f s", pick(func(c cost) float64 { return c.wall }))}
	if written := pick(func(c cost) float64 { return float64(c.written) }); written >= 0 {
		notes = append(notes, formatBytes(written))
	}
	if requests := pick(func(c cost) float64 { return float64(c.requests) }); requests > 0 {
		notes = append(notes, fmt.Sprintf("%.0f requests", requests))
	}
	return fmt.Sprintf("%.2f s (%s)", pick(func(c cost) float64 { return c.processor }), strings.Join(notes, ", "))
}

func formatBytes(n float64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.0f kB", n/1e3)
	}
	return fmt.Sprintf("%.1f MB", n/1e6)
}

// costOf runs a program to its end. It includes the usage of children that the program waits
// for.
func costOf(cmd *exec.Cmd) (cost, error) {
	wall, err := seconds(cmd.Run)
	if err != nil {
		return cost{}, fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	u := usageOf(cmd)
	return cost{wall: wall, processor: u.processor, written: -1}, nil
}

// workdirKeeper is the command, over some store.
type workdirKeeper struct {
	label, binary, run, url string
	env                     []string
}

func (k *workdirKeeper) name() string { return k.label }

func (k *workdirKeeper) command(args ...string) *exec.Cmd {
	cmd := command(k.binary, append([]string{"--quiet", "--run-dir", k.run}, args...)...)
	cmd.Env = k.env
	return cmd
}

func (k *workdirKeeper) create(tree string) error { return k.command("import", tree, k.url).Run() }

func (k *workdirKeeper) do(t changeTask, w workload) (cost, error) {
	args, script := []string{"exec", "--json"}, ""
	if t.change != nil {
		script = t.change(w)
	} else {
		args, script = append(args, "--read-only"), t.reads(w)
	}
	report, err := os.CreateTemp("", "workdir-bench")
	if err != nil {
		return cost{}, err
	}
	defer os.Remove(report.Name())
	defer report.Close()
	cmd := k.command(append(args, k.url, "--", "sh", "-c", script)...)
	cmd.Stderr = report // stdout is the command's
	got, err := costOf(cmd)
	if err != nil {
		return got, err
	}
	var result struct {
		Traffic map[string]struct{ Count, Sent int64 }
	}
	out, err := os.ReadFile(report.Name())
	if err == nil {
		if err = json.Unmarshal(out, &result); err != nil {
			err = fmt.Errorf("%w in %q", err, out)
		}
	}
	if result.Traffic != nil {
		got.written = 0
	}
	for _, r := range result.Traffic {
		got.written += r.Sent
		got.requests += r.Count
	}
	return got, err
}

// repository is a program that keeps a history of a directory. Its commits are of a directory
// already on disk.
type repository struct {
	label       string
	dir         string // of the repository
	tree        string // a copy of its own
	env         []string
	init, store []string
}

func (r *repository) name() string { return r.label }

func (r *repository) run(args []string) *exec.Cmd {
	cmd := command(args[0], args[1:]...)
	cmd.Env, cmd.Dir = append(os.Environ(), r.env...), r.tree
	return cmd
}

func (r *repository) create(tree string) error {
	if err := makeDirs(filepath.Dir(r.tree)); err != nil {
		return err
	}
	if err := command("cp", "-a", tree, r.tree).Run(); err != nil {
		return err
	}
	if len(r.init) > 0 {
		if err := r.run(r.init).Run(); err != nil {
			return err
		}
	}
	_, err := r.snapshot()
	return err
}

// snapshot makes a commit. "NEXT" in the command stands for a new name.
func (r *repository) snapshot() (cost, error) {
	args := slices.Clone(r.store)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "NEXT", strconv.FormatUint(rand.Uint64(), 36))
	}
	before, err := diskUse(r.dir)
	if err != nil {
		return cost{}, err
	}
	got, err := costOf(r.run(args))
	if err != nil {
		return got, err
	}
	after, err := diskUse(r.dir)
	got.written = max(0, after-before)
	return got, err
}

func (r *repository) do(t changeTask, w workload) (cost, error) {
	if t.change == nil {
		return cost{}, errors.ErrUnsupported
	}
	if err := r.run([]string{"sh", "-c", t.change(w)}).Run(); err != nil {
		return cost{}, err
	}
	return r.snapshot()
}

// diskUse is the size of the files in a directory; 0 if it does not exist.
func diskUse(dir string) (int64, error) {
	size, _, err := measureTree(dir)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	return size, err
}

// mounter is a program that mounts an archive to read it.
type mounter struct {
	label, archive, at string
	mount              []string // in the foreground
	skips              string   // a task that would take it minutes
}

func (m *mounter) name() string { return m.label }

func (m *mounter) create(tree string) error {
	if err := makeDirs(m.at); err != nil {
		return err
	}
	if _, err := os.Stat(m.archive); err == nil {
		return nil
	}
	return command("tar", "-C", tree, "-czf", m.archive, ".").Run()
}

// do mounts, and once the program has gone to the background reads and unmounts.
func (m *mounter) do(t changeTask, w workload) (cost, error) {
	if t.reads == nil || t.name == m.skips {
		return cost{}, errors.ErrUnsupported
	}
	script := strings.Join(m.mount, " ") + " & " +
		"until mountpoint -q " + m.at + "; do sleep 0.01; done; (cd " + m.at + " && " + t.reads(w) + ")" +
		" && fusermount3 -u " + m.at + " && wait"
	return costOf(command("sh", "-c", script))
}

// keepersOf returns all installed keepers.
func keepersOf(c config, dir string) []keeper {
	env := append(os.Environ(), "WORKDIR_NO_COLOR=1")
	file := func(label, binary string) keeper {
		return &workdirKeeper{label: label, binary: binary, run: filepath.Join(dir, label+"-run"), url: "file://" + filepath.Join(dir, label+"-store", "job"), env: env}
	}
	all := []keeper{file("workdir", c.binary)}
	if c.before != "" {
		all = append(all, file("workdir, before", c.before))
	}
	archive := filepath.Join(dir, "tree.tar.gz")
	repo := func(label string) (string, string) {
		return filepath.Join(dir, label), filepath.Join(dir, label+"-tree", "tree")
	}
	if has("restic") {
		r, tree := repo("restic")
		all = append(all, &repository{
			label: "restic", dir: r, tree: tree, env: []string{"RESTIC_REPOSITORY=" + r, "RESTIC_PASSWORD=bench", "RESTIC_CACHE_DIR=" + filepath.Join(dir, "restic-cache")},
			init: []string{"restic", "-q", "init"}, store: []string{"restic", "-q", "backup", "."},
		})
	}
	if has("borg") {
		r, tree := repo("borg")
		all = append(all, &repository{
			label: "borg", dir: r, tree: tree, env: []string{"BORG_REPO=" + r, "BORG_BASE_DIR=" + filepath.Join(dir, "borg-base"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes"},
			init: []string{"borg", "init", "-e", "none"}, store: []string{"borg", "create", "::NEXT", "."},
		})
	}
	r, tree := repo("pigz")
	all = append(all, &repository{label: "tar, pigz", dir: r, tree: tree, store: []string{"sh", "-c", "mkdir -p " + r + " && tar -cf - . | pigz >" + filepath.Join(r, "NEXT")}})
	if ratarmount := filepath.Join(filepath.Dir(c.python), "..", "..", "ratarmount", "bin", "ratarmount"); has(ratarmount) {
		at := filepath.Join(dir, "ratarmount")
		index := filepath.Join(dir, "ratarmount.index")
		all = append(all,
			&mounter{label: "ratarmount", archive: archive, at: at, mount: []string{ratarmount, "-f", "--index-file", ":memory:", archive, at}},
			&mounter{label: "ratarmount, its index kept", archive: archive, at: at, mount: []string{ratarmount, "-f", "--index-file", index, archive, at}})
	}
	if has("archivemount") {
		at := filepath.Join(dir, "archivemount")
		all = append(all, &mounter{label: "archivemount", archive: archive, at: at, mount: []string{"archivemount", "-f", "-o", "readonly", archive, at}, skips: readEverything}) // it begins anew for each file
	}
	return all
}

// roundTrip is the round-trip time to a distant bucket.
const roundTrip = 20 * time.Millisecond

// farKeepers are the command with an S3 bucket on this machine, and with one a round trip
// away. stop ends the servers.
func farKeepers(ctx context.Context, c config, dir string) (all []keeper, stop func() error, err error) {
	server, err := startS3(filepath.Join(dir, "s3"))
	if err != nil {
		return nil, nil, err
	}
	near := server.(*s3Server)
	far, err := startDistance(near.address, roundTrip)
	if err != nil {
		return nil, nil, errors.Join(err, near.stop())
	}
	stop = func() error { return errors.Join(near.stop(), far.stop()) }
	if err := near.makeBucket(ctx); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	for _, at := range []struct{ label, address string }{
		{"workdir, S3", near.address}, {fmt.Sprintf("workdir, S3 at %v", roundTrip), far.address()},
	} {
		url := s3URL("http://" + at.address)
		url.Key = "job-" + strconv.Itoa(len(all))
		all = append(all, &workdirKeeper{label: at.label, binary: c.binary, run: filepath.Join(dir, url.Key), url: url.String(), env: near.env()})
	}
	return all, stop, nil
}

func has(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
