package archive

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/workdir/workdir/fs"
)

// ownTree is what the archives of ours in testdata/ours hold.
func ownTree(tb testing.TB) *fs.Tree {
	t := newTree(tb)
	m := maker{tb, t}
	m.dir("dir")
	m.dir("dir/empty")
	m.file("dir/hello", "hello, world\n")
	m.file("empty", "")
	m.symlink("sym", "dir/hello")
	m.link("also", "dir/hello")
	m.node("pipe", syscall.S_IFIFO|0o600, 0)
	m.file("dir/"+strings.Repeat("long-name-", 20), "long name")
	m.file("grün\xff", "odd name")
	m.file("big", strings.Repeat("a line of a big file\n", 120_000))
	m.file("sparse", "at the start")
	m.truncate("sparse", 5<<20+100)
	m.xattr("dir/hello", "user.comment", "a=b")
	m.xattr("", "user.root", "of the root")
	m.age()
	m.owner("dir/hello", 1000, 3_000_000)
	m.mode("dir", 0o2775)
	m.mtime("pipe", -1, 500_000_000)
	return t
}

// Archives of ours, by the format that wrote them. They are never made anew.
var ownArchives = map[string]func(t *testing.T) []byte{
	"1": func(t *testing.T) []byte { return pack(t, ownTree(t), stepLog(3, 2, 20), &WriterOptions{Plain: true}) },
	"2": func(t *testing.T) []byte { return pack(t, ownTree(t), stepLog(3, 2, 20), nil) },
}

// What earlier releases wrote is read for good, and to the same tree and log.
func TestGoldenOfOurs(t *testing.T) {
	for name, makeIt := range ownArchives {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata/ours", name+".tar.gz")
			p, err := os.ReadFile(path)
			if os.IsNotExist(err) && *writeGolden {
				p = makeIt(t)
				err = os.WriteFile(path, p, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			tree, log := mustLoad(t, p, nil)
			var got []string
			for r := range log.All() {
				got = append(got, fmt.Sprintf("commit %s of %s by %s, %d created, result %q", r.ID, r.Parent, r.Origin.Worker, r.Changed.Created, r.Result))
			}
			got = append(got, dump(t, tree)...)
			wantSame(t, goldenList(t, strings.TrimSuffix(path, ".tar.gz")+".txt", got), got)
			if name != "1" {
				checkArchive(t, p)
			}
		})
	}
}
