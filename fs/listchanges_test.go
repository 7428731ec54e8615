package fs

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// lines are changes as people read them.
func lines(all []PathChange) (text []string) {
	for _, c := range all {
		line := fmt.Sprintf("%s %s %s %d", c.Kind, c.Path, KindName(c.Mode), c.Size)
		if c.From != "" {
			line += " from " + c.From
		}
		text = append(text, line)
	}
	return text
}

// filled makes a tree with a directory d and files d/f, d/g and h, where d/g and i are
// names of one file, and seals it; or it makes a tree on an image of that.
func filled(t *testing.T, image bool) *Tree {
	t.Helper()
	h, err := NewArenaHome(testHomeSize)
	must(t, err)
	tree, err := New(h, nil)
	must(t, err)
	t.Cleanup(func() {
		closeTree(t, tree)
		must(t, h.Close())
	})
	s := &treeSide{tree: tree}
	ok(t, s.mkdir("d", 0o755))
	for path, text := range map[string]string{"d/f": "content", "d/g": "linked", "h": "other content"} {
		ok(t, s.mknod(path, syscall.S_IFREG))
		ok(t, s.write(path, []byte(text), 0))
	}
	ok(t, s.link("d/g", "i"))
	tree.Seal()
	if image {
		return treeOn(t, imageOf(t, tree), nil)
	}
	return tree
}

func listed(t rapid.TB, tree *Tree) []string {
	t.Helper()
	all, errno := tree.ListChanges()
	if errno != 0 {
		t.Fatal(errno)
	}
	return lines(all)
}

func TestListChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(s *treeSide) []syscall.Errno
		want []string
	}{
		{"nothing", func(*treeSide) []syscall.Errno { return nil }, nil},
		{"create", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.mkdir("d/n", 0o755), s.mknod("d/n/f", syscall.S_IFREG), s.write("d/n/f", []byte("123"), 0), s.symlink("l2", "x"), s.mknod("sock", syscall.S_IFSOCK)}
		}, []string{"created d/n directory 0", "created d/n/f file 3", "created l2 symlink 0"}},
		{"create and remove", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.mknod("d/n", syscall.S_IFREG), s.unlink("d/n")}
		}, nil},
		{"write and chmod", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.write("d/f", []byte("longer than it was"), 0), s.chmod("d", 0o700)}
		}, []string{"modified d directory 0", "modified d/f file 18"}},
		{"a file of two names", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.write("i", []byte("x"), 0)}
		}, []string{"modified d/g file 6"}},
		{"a file of which one name is left", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.write("i", []byte("x"), 0), s.unlink("d/g")}
		}, []string{"removed d/g file 6", "modified i file 6"}},
		{"a file that has grown, of which one name is left", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.write("i", []byte("text"), 3), s.unlink("d/g")}
		}, []string{"removed d/g file 6", "modified i file 7"}},
		{"link", func(s *treeSide) []syscall.Errno { return []syscall.Errno{s.link("h", "d/h")} }, []string{"created d/h file 13"}},
		{"remove all", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.unlink("d/f"), s.unlink("d/g"), s.rmdir("d")}
		}, []string{"removed d directory 0", "removed d/f file 7", "removed d/g file 6"}},
		{"rename", func(s *treeSide) []syscall.Errno { return []syscall.Errno{s.rename("h", "d/h", 0)} }, []string{"moved d/h file 13 from h"}},
		{"rename there and back", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.rename("h", "d/h", 0), s.rename("d/h", "h", 0)}
		}, []string{"modified h file 13"}},
		{"rename over another, and write", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.rename("h", "d/f", 0), s.write("d/f", []byte("O"), 0)}
		}, []string{"modified d/f file 13", "removed d/f file 7", "moved d/f file 13 from h"}},
		{"exchange", func(s *treeSide) []syscall.Errno { return []syscall.Errno{s.rename("h", "d/f", RenameExchange)} },
			[]string{"moved d/f file 13 from h", "moved h file 7 from d/f"}},
		{"rename of a directory, and what is in it", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.rename("d", "e", 0), s.unlink("e/g"), s.chmod("e/f", 0o600), s.mkdir("d", 0o755)}
		}, []string{"created d directory 0", "removed d/g file 6", "moved e directory 0 from d", "modified e/f file 7"}},
		{"a directory into another, and that one away", func(s *treeSide) []syscall.Errno {
			return []syscall.Errno{s.mkdir("n", 0o755), s.rename("d", "n/d", 0), s.rename("n", "m", 0), s.rename("m/d/f", "f", 0)}
		}, []string{"moved f file 7 from d/f", "created m directory 0", "moved m/d directory 0 from d"}},
	} {
		for _, image := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, image %t", c.name, image), func(t *testing.T) {
				tree := filled(t, image)
				for _, errno := range c.do(&treeSide{tree: tree}) {
					ok(t, errno)
				}
				if got := listed(t, tree); !slices.Equal(got, c.want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
			})
		}
	}
	tree := filled(t, true)
	tree.Poison(fmt.Errorf("for the test"))
	if _, errno := tree.ListChanges(); errno != syscall.EIO {
		t.Errorf("of a poisoned tree: %v", errno)
	}
}

// seenName is a name by the inode of its directory.
type seenName struct {
	dir  uint64
	name string
}

// seenNames are all names of a tree, the inodes they lead to, and their paths.
func seenNames(t rapid.TB, tree *Tree) (inodes map[seenName]uint64, paths map[seenName]string) {
	inodes, paths = map[seenName]uint64{}, map[seenName]string{}
	dirs := map[string]uint64{"": rootIno}
	if err := tree.Walk(func(path string, n *Inode, a Attr) error {
		if path == "" {
			return nil
		}
		dir, name := Split(path)
		at := seenName{dirs[dir], name}
		inodes[at], paths[at], dirs[path] = n.ino, path, n.ino
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return inodes, paths
}

// TestListChangesIsWhatIsDifferent does random things to a tree on an image and to one that
// was filled, and compares what they list with all names before and after.
func TestListChangesIsWhatIsDifferent(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		both := map[bool][]string{}
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 30).Draw(r, "steps")
		for _, image := range []bool{false, true} {
			tree := filled(t, image)
			was, wasPaths := seenNames(r, tree)
			for _, step := range steps {
				step(&treeSide{tree: tree})
			}
			is, isPaths := seenNames(r, tree)
			want := map[string]bool{}
			for at, ino := range was {
				if is[at] != ino {
					want["went "+wasPaths[at]] = true
				}
			}
			for at, ino := range is {
				if was[at] != ino {
					want["came "+isPaths[at]] = true
				}
			}
			all, errno := tree.ListChanges()
			if errno != 0 {
				r.Fatal(errno)
			}
			for _, c := range all {
				gone, came := "went "+c.From, "came "+c.Path
				if c.Kind == Removed {
					gone = "went " + c.Path
				}
				if c.Kind == Removed || c.Kind == Moved {
					if !want[gone] {
						r.Fatalf("%v, image %t: %v", c, image, want)
					}
					delete(want, gone)
				}
				if c.Kind == Created || c.Kind == Moved {
					if !want[came] {
						r.Fatalf("%v, image %t: %v", c, image, want)
					}
					delete(want, came)
				}
			}
			if len(want) > 0 {
				r.Fatalf("image %t: not listed: %v", image, want)
			}
			both[image] = lines(all)
		}
		if !slices.Equal(both[false], both[true]) {
			r.Fatalf("listed\n%s\nand on an image\n%s", strings.Join(both[false], "\n"), strings.Join(both[true], "\n"))
		}
	})
}

// drawStep is one thing that may fail.
func drawStep(t *rapid.T) func(s *treeSide) {
	path := func(label string) string {
		return rapid.SampledFrom([]string{"d", "d/f", "d/g", "d/n", "e", "e/f", "e/n", "d/e", "f", "h", "i", "l", "n"}).Draw(t, label)
	}
	from, to := path("from"), path("to")
	return map[int]func(s *treeSide){
		0: func(s *treeSide) { s.mkdir(to, 0o755) },
		1: func(s *treeSide) { s.mknod(to, syscall.S_IFREG) },
		2: func(s *treeSide) { s.write(from, []byte("text"), 3) },
		3: func(s *treeSide) { s.unlink(from) },
		4: func(s *treeSide) { s.rmdir(from) },
		5: func(s *treeSide) { s.rename(from, to, 0) },
		6: func(s *treeSide) { s.rename(from, to, RenameExchange) },
		7: func(s *treeSide) { s.link(from, to) },
		8: func(s *treeSide) { s.chmod(from, 0o700) },
	}[rapid.IntRange(0, 8).Draw(t, "what")]
}
