package fsmerge

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
)

// side is a tree on an archive, with a few of the commands of a shell.
type side struct {
	t     *testing.T
	tree  *fs.Tree
	image *archive.Image
	clock int64
}

func newHome(t *testing.T) fs.Home {
	t.Helper()
	home, err := fs.NewArenaHome(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { home.Close() })
	return home
}

// archived packs a tree.
func archived(t *testing.T, tree *fs.Tree) []byte {
	t.Helper()
	var b bytes.Buffer
	log := &archive.Log{Record: archive.Record{ID: archive.NewCommitID()}}
	if _, err := archive.NewWriter(&b, nil).WriteTree(t.Context(), tree, log); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// on makes a tree that stands on an archive; nil makes an empty one.
func on(t *testing.T, packed []byte, clock int64) *side {
	t.Helper()
	s := &side{t: t, clock: clock}
	if packed == nil {
		tree, err := fs.New(newHome(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		tree.Seal()
		s.tree = tree
		return s
	}
	a, err := archive.Open(context.Background(), bytes.NewReader(packed), int64(len(packed)), nil)
	if err != nil {
		t.Fatal(err)
	}
	src := a.Source(archive.NewCache(1<<20), nil)
	t.Cleanup(func() { src.Close() })
	if s.image, err = a.Image(src, nil); err != nil {
		t.Fatal(err)
	}
	if s.tree, err = fs.NewOn(s.image, newHome(t), nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// at returns the inode of a path, nil if the path does not exist.
func (s *side) at(p string) *fs.Inode {
	n, _ := s.tree.LookupPath(s.tree.Root(), p)
	return n
}

// do runs a command, and reports whether it succeeded.
func (s *side) do(command string) bool {
	words := strings.Fields(command)
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	p := words[1]
	parent, base := fs.Split(p)
	dir := s.at(parent)
	n := s.at(p)
	s.clock++
	touch := func(n *fs.Inode) {
		s.tree.SetAttr(n, &fs.SetAttr{Valid: fs.SetMtime, Mtime: fs.Time{Sec: s.clock}})
	}
	switch {
	case dir == nil:
		return false
	case words[0] == "mkdir":
		_, errno := s.tree.Mkdir(dir, base, 0o755, fs.Owner{})
		return errno == 0
	case words[0] == "symlink":
		made, errno := s.tree.Symlink(dir, base, arg(2), fs.Owner{})
		if errno == 0 {
			touch(made)
		}
		return errno == 0
	case words[0] == "write", words[0] == "append":
		if n == nil {
			n, _ = s.tree.Mknod(dir, base, syscall.S_IFREG|0o644, 0, fs.Owner{})
		}
		written := n != nil && s.write(n, arg(2), words[0] == "append")
		if written {
			touch(n)
		}
		return written
	case n == nil:
		return false
	case words[0] == "rename", words[0] == "exchange", words[0] == "link":
		return s.move(words[0], dir, base, n, words[2])
	case words[0] == "rm":
		s.removeAll(dir, base, n)
		return true
	case s.tree.Attr(n).Mode&syscall.S_IFMT == syscall.S_IFLNK:
		return false // the kernel refuses what follows
	case words[0] == "chmod":
		_, errno := s.tree.SetAttr(n, &fs.SetAttr{Valid: fs.SetMode, Mode: 0o700})
		return errno == 0
	case words[0] == "truncate":
		_, errno := s.tree.SetAttr(n, &fs.SetAttr{Valid: fs.SetSize, Size: 1<<20 + 9000})
		if errno == 0 {
			touch(n)
		}
		return errno == 0
	case words[0] == "xattr":
		return s.tree.SetXattr(n, "user.k", []byte(arg(2)), 0) == 0
	}
	s.t.Fatalf("no command %q", command)
	return false
}

// write replaces the content of a file, or appends to it.
func (s *side) write(n *fs.Inode, content string, appended bool) bool {
	off := int64(0)
	if appended {
		off = s.tree.Attr(n).Size
	} else if _, errno := s.tree.SetAttr(n, &fs.SetAttr{Valid: fs.SetSize}); errno != 0 {
		return false
	}
	_, errno := s.tree.WriteAt(n, []byte(content), off, false)
	return errno == 0
}

// move renames a name of n to another path, exchanges the two, or makes a link there.
func (s *side) move(how string, dir *fs.Inode, base string, n *fs.Inode, to string) bool {
	parent, name := fs.Split(to)
	into := s.at(parent)
	switch {
	case into == nil:
		return false
	case how == "link":
		return s.tree.Link(into, name, n) == 0
	case how == "exchange":
		return s.tree.Rename(dir, base, into, name, fs.RenameExchange) == 0
	}
	return s.tree.Rename(dir, base, into, name, 0) == 0
}

// removeAll removes a name, the content of a directory first.
func (s *side) removeAll(dir *fs.Inode, base string, n *fs.Inode) {
	if s.tree.Attr(n).Mode&syscall.S_IFMT != syscall.S_IFDIR {
		s.tree.Unlink(dir, base)
		return
	}
	var names []string
	s.tree.ReadDir(n, 0, func(d fs.Dirent) bool { names = append(names, d.Name); return true })
	for _, name := range names {
		child, _ := s.tree.Lookup(n, name)
		s.removeAll(n, name, child)
	}
	s.tree.Rmdir(dir, base)
}

// all runs commands that must succeed, one a line.
func (s *side) all(commands string) {
	s.t.Helper()
	for command := range strings.SplitSeq(strings.TrimSpace(commands), ";") {
		if command = strings.TrimSpace(command); command != "" && !s.do(command) {
			s.t.Fatalf("%q failed", command)
		}
	}
}

// snapshot returns a tree as text, by path. Only files have times; all names of a file show
// its first one.
func (s *side) snapshot() map[string]string {
	s.t.Helper()
	all, first := map[string]string{}, map[uint64]string{}
	err := s.tree.Walk(func(p string, n *fs.Inode, a fs.Attr) error {
		text := fmt.Sprintf("%o %d:%d", a.Mode, a.UID, a.GID)
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			buf := make([]byte, a.Size)
			if n, errno := s.tree.ReadAt(n, buf, 0); errno != 0 || n != len(buf) {
				return fmt.Errorf("%s: %w", p, errno)
			}
			if first[a.Ino] == "" {
				first[a.Ino] = p
			}
			text += fmt.Sprintf(" %d %q names %d", a.Mtime.Sec, strings.ReplaceAll(string(buf), "\x00\x00\x00\x00\x00\x00\x00\x00", "0"), a.Nlink)
			if a.Nlink > 1 {
				text += " as " + first[a.Ino]
			}
		case syscall.S_IFLNK:
			target, _ := s.tree.Readlink(n)
			text += " -> " + target
		}
		names, _ := s.tree.ListXattr(n)
		for _, name := range names {
			v, _ := s.tree.GetXattr(n, name)
			text += " " + name + "=" + string(v)
		}
		all[p] = text
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

func equal(t *testing.T, got, want map[string]string) {
	t.Helper()
	paths := map[string]bool{}
	for p := range got {
		paths[p] = true
	}
	for p := range want {
		paths[p] = true
	}
	for _, p := range slices.Sorted(mapKeys(paths)) {
		if got[p] != want[p] {
			t.Errorf("%q is %.200s, want %.200s", p, cmp.Or(got[p], "not there"), cmp.Or(want[p], "not there"))
		}
	}
}

func mapKeys(m map[string]bool) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// merge merges the changes of two sides of one base.
func merge(t *testing.T, mine, theirs *side) Result {
	t.Helper()
	res, err := Merge(mine.tree, theirs.tree, func(b, h uint32) bool { return mine.image.Same(b, theirs.image, h) })
	if err != nil {
		t.Fatal(err)
	}
	return res
}

const baseCommands = `mkdir d; write d/a aaa; write d/b bbb; mkdir d/e; write d/e/f fff; mkdir x; write x/y yyy; write top ttt;
	write big 0123456789; truncate big; write h1 hhh; link h1 h2; symlink s d/a; mkdir empty`

func TestMerge(t *testing.T) {
	base := on(t, nil, 100)
	base.all(baseCommands)
	packed := archived(t, base.tree)
	tests := []struct {
		name, mine, theirs string
		conflicts          string
	}{
		{"different files", "append d/a 1", "append d/b 2", ""},
		{"two new files in one directory", "write d/n1 1", "write d/n2 2", ""},
		{"the same file", "append d/a 1", "append d/a 2", "d/a"},
		{"the same new file", "write n 1", "write n 1", "n"},
		{"the same new directory", "mkdir n; write n/a 1", "mkdir n; write n/b 2", ""},
		{"a file and a directory of one name", "mkdir n; write n/a 1", "write n 2", "n"},
		{"both remove one", "rm top", "rm top", "top"},
		{"one removes, one changes", "rm d/a", "append d/a 1", "d/a"},
		{"one changes, one removes", "append d/a 1", "rm d/a", "d/a"},
		{"a directory is removed, a file made in it", "rm d/e", "write d/e/n 1", "d/e/n"},
		{"a file is made in a directory that is removed", "write d/e/n 1", "rm d/e", "d/e/n"},
		{"a directory is renamed, another changed", "rename d moved", "append x/y 1", ""},
		{"a directory is renamed, and changed in", "rename d moved", "append d/e/f 1", "d/e/f"},
		{"a directory is renamed, a file made in it", "rename d moved", "write d/n 1", "d/n"},
		{"two are exchanged", "exchange d x", "write top 2", ""},
		{"a renamed directory with changes", "rename d moved; append moved/a 1; rm moved/b; rename moved/e/f moved/g; write moved/e/n 2", "write top 2", ""},
		{"a chain of renames", "rename d t; rename x d; rename t x", "append top 1", ""},
		{"into a renamed directory", "rename d x/d2; rename x z; rename top z/d2/top", "append big z", ""},
		{"a directory becomes a file", "rm d; write d file", "append top 1", ""},
		{"a directory becomes a file, theirs is in it", "rm d; write d file", "append d/e/f 1", "d/e/f"},
		{"a directory is made anew", "rm x; mkdir x; write x/y new", "append top 1", ""},
		{"a directory is made anew, theirs is in it", "rm x; mkdir x", "write x/n 1", "x/n"},
		{"attributes of one file", "chmod top", "xattr top v", "top"},
		{"attributes of a directory, and a file in it", "chmod d", "write d/n 1", ""},
		{"attributes of one directory", "chmod d", "xattr d v", "d"},
		{"a name of a file of two is removed", "rm h1", "append top 1", ""},
		{"a file of two names, by one and by the other", "append h1 1", "append h2 2", "h1 h2"},
		{"a file of two names and a third", "append h1 1", "link h1 h3", "h1 h2"},
		{"a third name", "link h1 d/h3", "append top 1", ""},
		{"a name moved, the file changed by the other", "rename h1 d/h1; append h2 x", "append top 1", ""},
		{"a part of a large file", "append big tail", "write top 1", ""},
		{"a large file is cut", "write big short", "write top 1", ""},
		{"a link", "rm s; symlink s top", "write top 1", ""},
		{"what is new is renamed over what was", "write n 1; rename n d/a", "append d/b 1", ""},
		{"an empty directory is removed by both", "rm empty", "rm empty", "empty"},
		{"an empty directory is renamed by both", "rename empty e1", "rename empty e2", "empty"},
		{"nothing of mine", "chmod top; chmod top", "rm d", ""},
		{"nothing of theirs", "rm d; write top 2; rename x z", "mkdir t; rm t", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			both(t, packed, strings.Split(test.mine, ";"), strings.Split(test.theirs, ";"), func(res Result) {
				if got := strings.Join(res.Conflicts, " "); got != test.conflicts {
					t.Errorf("conflicts %q, want %q", got, test.conflicts)
				}
			})
		})
	}
}

// both lets two sides work, merges them, and compares the result with the three trees: a
// path is as in mine if mine has changed it, else as in theirs.
func both(t *testing.T, packed []byte, mineDoes, theirsDoes []string, check func(Result)) Result {
	t.Helper()
	base, mine, head := on(t, packed, 0), on(t, packed, 1000), on(t, packed, 2000)
	for _, command := range mineDoes {
		mine.do(strings.TrimSpace(command))
	}
	for _, command := range theirsDoes {
		head.do(strings.TrimSpace(command))
	}
	theirs := on(t, archived(t, head.tree), 0)
	was, own, other := base.snapshot(), mine.snapshot(), theirs.snapshot()
	res := merge(t, mine, theirs)
	check(res)
	want := other
	if len(res.Conflicts) == 0 {
		want = threeWay(was, own, other)
	}
	equal(t, theirs.snapshot(), want)
	if len(res.Conflicts) == 0 {
		equal(t, on(t, archived(t, theirs.tree), 0).snapshot(), want)
	}
	return res
}

func threeWay(was, own, other map[string]string) map[string]string {
	want := map[string]string{}
	for p, text := range other {
		want[p] = text
	}
	for p, text := range own {
		if was[p] != text {
			want[p] = text
		}
	}
	for p := range was {
		if _, ok := own[p]; !ok {
			delete(want, p)
		}
	}
	return want
}

// TestRandomMerges checks that the merge of random work is what the three trees say, and
// that sides without a common path always merge.
func TestRandomMerges(t *testing.T) {
	base := on(t, nil, 100)
	base.all(baseCommands)
	packed := archived(t, base.tree)
	const rounds = 200
	merged := 0
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 7))
		script := func(names []string) (commands []string) {
			for range 1 + r.IntN(5) {
				commands = append(commands, randomCommand(r, names))
			}
			return commands
		}
		all := []string{"d", "d/a", "d/b", "d/e", "d/e/f", "x", "x/y", "top", "big", "h1", "h2", "s", "empty", "n", "d/n", "x/n", "n/n", "d/e/n"}
		mine, theirs := script(all), script(all)
		if seed%2 == 0 { // each side has directories of its own
			mine, theirs = script(all[:5]), script([]string{"x", "x/y", "top", "x/n", "n", "n/n"})
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("mine:   %q\ntheirs: %q", mine, theirs)
				}
			}()
			res := both(t, packed, mine, theirs, func(Result) {})
			apart := seed%2 == 0 && !strings.Contains(strings.Join(mine, " "), " x") && !strings.Contains(strings.Join(theirs, " "), " d")
			switch {
			case len(res.Conflicts) == 0:
				merged++
			case apart:
				t.Errorf("conflicts %q of what has nothing in common", res.Conflicts)
			}
		})
	}
	if merged < rounds/4 {
		t.Errorf("%d of %d were merged", merged, rounds)
	}
}

func randomCommand(r *rand.Rand, names []string) string {
	commands := []string{"mkdir", "write", "append", "rename", "exchange", "link", "rm", "chmod", "truncate", "xattr", "symlink"}
	command, p, q := commands[r.IntN(len(commands))], names[r.IntN(len(names))], names[r.IntN(len(names))]
	switch command {
	case "rename", "exchange", "link", "symlink":
		return command + " " + p + " " + q
	}
	return fmt.Sprintf("%s %s v%d", command, p, r.IntN(3))
}

// The changes of a tree that was filled by verbs are not known.
func TestWithoutAnImage(t *testing.T) {
	a, b := on(t, nil, 0), on(t, nil, 0)
	if _, err := Merge(a.tree, b.tree, nil); err == nil {
		t.Error("two trees without images were merged")
	}
}
