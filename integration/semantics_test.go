package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// difference is a line of docs/semantics.md: what tools see on tmpfs and in a mount.
type difference struct {
	name         string
	views        []string
	tmpfs, mount string
}

// differences reads the tables of docs/semantics.md: a row has the name, the views
// ("all" for each), what tmpfs says and what a mount says, and the reason. A name has a
// row for each of the views if they say different things.
func differences(t *testing.T) []difference {
	t.Helper()
	b, err := os.ReadFile("../docs/semantics.md")
	must(t, err)
	var all []difference
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		name, ok := strings.CutPrefix(cells[0], "| `")
		if !ok {
			continue
		}
		if len(cells) != 5 || strings.Trim(cells[4], " |") == "" {
			t.Fatalf("docs/semantics.md: %q has not five columns, the last of them a reason", line)
		}
		d := difference{name: strings.TrimSuffix(name, "`"), views: strings.Split(cells[1], ", "), tmpfs: cells[2], mount: cells[3]}
		if cells[1] == "all" {
			d.views = semanticsViews
		}
		all = append(all, d)
	}
	return all
}

// TestSemantics holds docs/semantics.md against a mount and tmpfs: each line has a
// probe, each probe a line, and both sides say what the line says.
func TestSemantics(t *testing.T) {
	needRoot(t)
	listed, seen := map[string]bool{}, map[string]bool{}
	all := differences(t)
	for _, d := range all {
		for _, view := range d.views {
			if seen[d.name+" "+view] {
				t.Errorf("docs/semantics.md has %s twice for %s", d.name, view)
			}
			seen[d.name+" "+view] = true
		}
		listed[d.name] = true
		if _, ok := probes[d.name]; !ok {
			t.Errorf("docs/semantics.md has %s, of which there is no probe", d.name)
		}
	}
	for name := range probes {
		if !listed[name] {
			t.Errorf("docs/semantics.md has no line for %s", name)
		}
	}
	for _, view := range semanticsViews {
		t.Run(view, func(t *testing.T) {
			testDifferences(t, view, inView(all, view))
		})
	}
}

// inView returns the row of each name for a view. Without one the row has no views: there is
// no difference in this view.
func inView(all []difference, view string) []difference {
	var rows []difference
	at := map[string]int{}
	for _, d := range all {
		i, known := at[d.name]
		if !known {
			i = len(rows)
			at[d.name] = i
			rows = append(rows, difference{name: d.name, tmpfs: d.tmpfs, mount: d.tmpfs})
		}
		if slices.Contains(d.views, view) {
			rows[i] = d
		}
	}
	return rows
}

// testDifferences makes what all probes want in one workspace, commits it, and asks
// after the remount.
func testDifferences(t *testing.T, view string, all []difference) {
	w := newOracleWorld(t, view)
	tmpfs := filepath.Join(w.dir, "tmpfs")
	must(t, os.Mkdir(tmpfs, 0o755))
	m := w.open(t, "semantics")
	said := map[string]string{}
	for _, d := range all {
		for _, root := range []string{tmpfs, m.Path()} {
			dir := filepath.Join(root, d.name)
			must(t, os.Mkdir(dir, 0o755))
			if p := probes[d.name]; p.before != nil {
				said[dir] = p.before(t, dir)
			}
		}
		if p := probes[d.name]; p.alone != nil {
			said[filepath.Join(m.Path(), d.name)], said[filepath.Join(tmpfs, d.name)] = noTmpfs, noTmpfs
			if slices.Contains(d.views, view) {
				said[filepath.Join(m.Path(), d.name)] = p.alone(t, w)
			}
		}
	}
	was := m.Path()
	m = w.remount(t, m, "semantics")
	defer w.close(t, m)
	for _, d := range all {
		theirs, ours := filepath.Join(tmpfs, d.name), filepath.Join(m.Path(), d.name)
		said[ours] = said[filepath.Join(was, d.name)]
		if p := probes[d.name]; p.after != nil {
			for _, dir := range []string{theirs, ours} {
				said[dir] = p.after(t, dir)
			}
		}
		if said[theirs] != d.tmpfs || said[ours] != d.mount {
			t.Errorf("%s: tmpfs says %q, the mount %q; docs/semantics.md %q and %q", d.name, said[theirs], said[ours], d.tmpfs, d.mount)
		}
	}
}

// probe finds out how a directory's file system behaves: at once, or after a commit
// and a remount, which tmpfs has not.
type probe struct {
	before func(t *testing.T, dir string) string // makes what after wants, if there is after
	after  func(t *testing.T, dir string) string
	alone  func(t *testing.T, w *oracleWorld) string // in a mount of its own, and not on tmpfs
}

// noTmpfs stands where there is nothing to compare with.
const noTmpfs = "–"

func now(f func(*testing.T, string) string) probe { return probe{before: f} }

// statOf is lstat(2) of a name in dir.
func statOf(t *testing.T, dir, name string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(filepath.Join(dir, name), &st))
	return st
}

// onFile is a probe of one call on an open file.
func onFile(call func(fd int) error) probe {
	return now(func(t *testing.T, dir string) string {
		name := filepath.Join(dir, "file")
		must(t, os.WriteFile(name, []byte(strings.Repeat("x", 8192)), 0o644))
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		return outcome(call(fd))
	})
}

func keptOrNot(kept bool) string {
	if kept {
		return "kept"
	}
	return "lost"
}
