package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/workdir/workdir/fs"
)

// dumpImage is dump of the tree that an image is.
func dumpImage(im *Image) ([]string, error) {
	var lines []string
	names := map[uint32]string{}
	var walk func(path string, row uint32) error
	walk = func(path string, row uint32) error {
		a := im.Attr(im.Inode(row))
		line := fmt.Sprintf("%q %06o %d:%d %d.%09d", path, a.Mode, a.UID, a.GID, a.Mtime.Sec, a.Mtime.Nsec)
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			var content bytes.Buffer
			if a.Size > 0 {
				n, err := io.Copy(&content, io.NewSectionReader(im.Content(im.Inode(row)), 0, a.Size))
				if err != nil || n != a.Size {
					return fmt.Errorf("%s: %d of %d bytes: %w", path, n, a.Size, err)
				}
			}
			line += fmt.Sprintf(" size %d %s", a.Size, digestOf(content.Bytes()))
			if first, ok := names[im.Inode(row)]; ok {
				line += fmt.Sprintf(" same as %q", first)
			} else {
				names[im.Inode(row)] = path
			}
		case syscall.S_IFLNK:
			line += fmt.Sprintf(" -> %q", im.Target(row))
		}
		for _, x := range im.Xattrs(im.Inode(row)) {
			line += fmt.Sprintf(" %s=%d:%.40q", x.Name, len(x.Value), x.Value)
		}
		lines = append(lines, line)
		first, n := im.Children(row)
		for child := first; child < first+n; child++ {
			if err := walk(strings.TrimPrefix(path+"/"+im.Name(child), "/"), child); err != nil {
				return err
			}
		}
		return nil
	}
	return lines, walk("", 0)
}

// An image shows what the tree had, and the log is that of the commit.
func TestOpen(t *testing.T) {
	tree := smallTree(t)
	m := maker{t, tree}
	m.file("big", randomText(3<<20+77))
	m.file("dir/sparse", "x")
	m.truncate("dir/sparse", 3<<20)
	m.write(m.at("dir/sparse"), "y", 3<<20-1)
	m.age()
	archive := packIndexed(t, tree, testLog(3), 8<<10)
	a, im := opened(t, archive, nil, nil)
	got, err := dumpImage(im)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, dump(t, tree), got)
	loaded, log := mustLoad(t, archive, nil)
	wantSame(t, dump(t, tree), dump(t, loaded))
	if !reflect.DeepEqual(log, a.Log()) {
		t.Errorf("the log is %+v, and that of the stream %+v", a.Log(), log)
	}
}

// An archive of version 1 and one of another program are no indexed ones, and load.
func TestOpenUnindexed(t *testing.T) {
	tree := smallTree(t)
	ours := pack(t, tree, testLog(2), nil)
	a, err := Open(context.Background(), bytes.NewReader(ours), int64(len(ours)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Log().Len() != 3 {
		t.Errorf("its log has %d commits", a.Log().Len())
	}
	got := newTree(t)
	if _, err := a.Load(context.Background(), got); err != nil {
		t.Fatal(err)
	}
	wantSame(t, dump(t, tree), dump(t, got))
}

// indexedSample returns an archive with an entry of each kind, groups, chunks and zeros.
func indexedSample(tb testing.TB, tree *fs.Tree) []byte {
	m := maker{tb, tree}
	m.file("big", randomText(9<<10))
	m.file("dir/sparse", "x")
	m.truncate("dir/sparse", 64<<10)
	m.age()
	return packIndexed(tb, tree, testLog(30), 8<<10)
}

// Any bit of an archive may change, and any run of bytes be lost or doubled: an image of
// it shows what was stored, or an error.
func TestDamagedImage(t *testing.T) {
	tree := smallTree(t)
	archive := indexedSample(t, tree)
	want := dump(t, tree)
	_, wantLog := mustLoad(t, archive, nil)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 10_000 {
		bad := damage(r, archive)
		got, log, err := readImage(bad)
		switch {
		case errors.Is(err, errUnindexed):
			continue // TestRandomDamage loads it
		case err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit):
			t.Fatalf("damage %d: %v", i, err)
		case err == nil && (!slices.Equal(got, want) || !reflect.DeepEqual(log, wantLog)):
			t.Fatalf("damage %d was not found:\n%s", i, diff(want, got))
		}
	}
}

var errUnindexed = errors.New("not indexed")

// readImage opens an archive and reads all that an image of it has.
func readImage(archive []byte) ([]string, *Log, error) {
	a, err := Open(context.Background(), bytes.NewReader(archive), int64(len(archive)), nil)
	if err != nil {
		return nil, nil, err
	}
	if !a.Indexed() {
		return nil, nil, errUnindexed
	}
	src := a.Source(NewCache(1<<20), nil)
	defer src.Close()
	im, err := a.Image(src, nil)
	if err != nil {
		return nil, nil, err
	}
	lines, err := dumpImage(im)
	return lines, a.Log(), err
}

// Verify finds every bit that was flipped.
func TestVerify(t *testing.T) {
	archive := indexedSample(t, smallTree(t))
	verify := func(p []byte) error {
		a, err := Open(context.Background(), bytes.NewReader(p), int64(len(p)), nil)
		if err != nil {
			return err
		}
		if !a.Indexed() {
			return errUnindexed
		}
		return a.Verify(context.Background(), nil)
	}
	if err := verify(archive); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 8))
	for range 5000 {
		at := r.IntN(len(archive))
		if err := verify(flip(archive, at, 1<<r.IntN(8))); err == nil {
			t.Fatalf("a bit of byte %d of %d was flipped, and Verify says nothing", at, len(archive))
		}
	}
}
