package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// holes reports files of a sample that take more space than the pieces that their data
// are in, of so many bytes each: the zeros between must come back as holes.
func holes(t *testing.T, when, dir string, piece int64) {
	t.Helper()
	for name, data := range sparseFiles {
		var st unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &st); err != nil {
			t.Errorf("%s: %s: %v", when, name, err)
			continue
		}
		pieces := (data + 64<<10 - 1) / (64 << 10) // there are no more than 64 KiB of data together
		if used, most := st.Blocks*512, min(st.Size, pieces*piece); used > most {
			t.Errorf("%s: %s takes %d bytes of %d, want at most %d for its %d bytes of data", when, name, used, st.Size, most, data)
		}
	}
}

// A tree of every kind is in a mount what it is on tmpfs, and comes back equal
// from exec to exec, for three generations, of which each changes one file.
func TestTreeThreeGenerations(t *testing.T) {
	needRoot(t)
	t.Run("all", func(t *testing.T) { threeGenerations(t, nil, "--view", "auto") })
	t.Run("overlay", func(t *testing.T) { threeGenerations(t, beyondOverlay, "--view", "overlay") })
}

// beyondOverlay names what no overlay takes in an archive: hard links, and long paths of
// directories.
func beyondOverlay(name string) bool {
	last := filepath.Base(name)
	return len(name) > 255 || name == longHardLink || last == "second" || last == "third" || last == "fourth" ||
		name == "z-later-directory/empty" || last == "setuid-too"
}

func threeGenerations(t *testing.T, skip func(string) bool, view ...string) {
	e := newEnv(t)
	url := e.url("tree")
	oracle := memoryDir(t)
	buildSample(t, oracle, skip)
	want := snapshotOf(t, oracle)
	flags := append(view, "--allow-other") // or an overlay has a root of another mode

	e.work(url, func(dir string) {
		buildSample(t, dir, skip)
		mustEqual(t, "as built", want, snapshotOf(t, dir))
		holes(t, "as built", dir, 128<<10)
	}, flags...)
	for generation := 1; generation <= 3; generation++ {
		when := fmt.Sprintf("generation %d", generation)
		e.work(url, func(dir string) {
			mustEqual(t, when, want, snapshotOf(t, dir))
			holes(t, when, dir, 1<<20)
			if err := os.WriteFile(filepath.Join(dir, "generation"), []byte(when), 0o644); err != nil {
				t.Fatal(err)
			}
			want = snapshotOf(t, dir)
		}, flags...)
	}
	mustEqual(t, "the last generation", want, e.look(url))
}

// An inode other than a regular file can have several names as well. An archive
// has no entry for that which every reader takes, so each name comes back as an
// inode of its own.
func TestTreeHardLinksOfOtherKinds(t *testing.T) {
	needRoot(t)
	e := newEnv(t)
	url := e.url("links")
	var want map[string]entry
	e.work(url, func(dir string) {
		symlink, fifo := filepath.Join(dir, "symlink"), filepath.Join(dir, "fifo")
		for _, err := range []error{
			os.Symlink("target", symlink), unix.Mkfifo(fifo, 0o600),
			os.Link(symlink, symlink+"-too"), os.Link(fifo, fifo+"-too"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		want = snapshotOf(t, dir)
	}, "--allow-other") // or an overlay's root has another mode
	mustEqual(t, "after a commit", storedLinks(want), e.look(url))
}

// Archives of other programs open as what those programs keep, and so does what
// is committed on top of them.
func TestTreeOfOtherPrograms(t *testing.T) {
	needRoot(t)
	for _, p := range packers {
		t.Run(p.name, func(t *testing.T) {
			e := newEnv(t)
			src := memoryDir(t)
			buildSample(t, src, p.skip)
			p.pack(e, src, e.archive("foreign"))

			want := map[string]entry{}
			for name, en := range snapshotOf(t, src) {
				if p.keeps != nil {
					p.keeps(&en)
				}
				want[name] = en
			}
			url := e.url("foreign")
			e.work(url, func(dir string) {
				got := snapshotOf(t, dir)
				if p.rootless {
					want["."] = got["."]
				}
				mustEqual(t, "as the other program packed it", want, got)
				holes(t, "as the other program packed it", dir, 128<<10)
				if err := os.WriteFile(filepath.Join(dir, "generation"), nil, 0o644); err != nil {
					t.Fatal(err)
				}
				want = snapshotOf(t, dir)
			})
			mustEqual(t, "after a commit", want, e.look(url))
		})
	}
}
