package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

// openMany opens a workspace n times at once.
func (f *fixture) openMany(n int, url string, opts Options) []*Mount {
	f.t.Helper()
	opts.RunDir = f.runDir
	mounts := make([]*Mount, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			m, err := Open(f.t.Context(), url, &opts)
			if err != nil {
				f.t.Error(err)
				return
			}
			mounts[i] = m
		})
	}
	f.t.Cleanup(func() { closeAll(f.t, mounts) })
	wg.Wait()
	if f.t.Failed() {
		f.t.FailNow()
	}
	return mounts
}

// place puts an archive in place without a commit.
func (f *fixture) place(key string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(f.archive(key), b, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func closeAll(t *testing.T, mounts []*Mount) {
	t.Helper()
	for _, m := range mounts {
		if m == nil {
			continue
		}
		if _, err := m.Close(context.Background()); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

// requests sums up what mounts asked their stores for.
func requests(t *testing.T, mounts []*Mount) store.Traffic {
	t.Helper()
	sum := store.Traffic{}
	for _, m := range mounts {
		status, err := m.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for kind, r := range status.Traffic {
			r.Count += sum[kind].Count
			r.Received += sum[kind].Received
			sum[kind] = r
		}
	}
	return sum
}

// noise is content that cannot be compressed.
func noise(size int) string {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(b) // it never fails
	return string(b)
}

// freeBytes returns the free space of a mount by statfs(2): if mounts share a home, what is
// left for all of them.
func freeBytes(t *testing.T, m *Mount) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(m.Path(), &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}

func TestReadOnlyMountsFetchOnce(t *testing.T) {
	for _, n := range []int{1, 10, 50} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			f := newFixture(t)
			content := noise(4 << 20)
			size := f.commit("key", "file", content).Size
			url := "counted://bucket" + f.dir + "/key"
			mounts := f.openMany(n, url, Options{ReadOnly: true})
			paths := map[string]bool{}
			for _, m := range mounts {
				paths[m.Path()] = true
				if b, err := os.ReadFile(m.Path("file")); string(b) != content || err != nil {
					t.Errorf("a mount has %d bytes, %v", len(b), err)
				}
			}
			if len(paths) != n {
				t.Errorf("%d mounts have %d mountpoints", n, len(paths))
			}
			sum := requests(t, mounts)
			// The open reads the end, and fetching ahead may already have begun.
			if get := sum["get"]; get.Count != 1 || get.Received > 2*size+archive.OpenRead {
				t.Errorf("%d mounts opened the archive of %d bytes %d times and read %d bytes", n, size, get.Count, get.Received)
			}
			if heads := sum["head"].Count; heads > int64(n-1) {
				t.Errorf("%d mounts asked for the revision %d times", n, heads)
			}
		})
	}
}

// Forty mounts more take no memory for the content of an archive that is loaded.
func TestSharedContentIsInMemoryOnce(t *testing.T) {
	f := newFixture(t)
	writeTar(t, filepath.Join(f.dir, "key.tar.gz"), "file", noise(4<<20))
	first := f.open("key", &Options{ReadOnly: true})
	before := freeBytes(t, first)
	mounts := f.openMany(40, f.url("key"), Options{ReadOnly: true})
	if after := freeBytes(t, first); after != before {
		t.Errorf("%d bytes are free with 41 mounts, %d with one", after, before)
	}
	closeAll(t, mounts)
	f.close(first, false)
	// All of it is freed with the last of them.
	empty := f.open("other", nil)
	waitFor(t, "the content to be freed", func() bool { return freeBytes(t, empty) >= before+4<<20 })
}

// Every read-only mount that is opened after a commit shows it, and those opened before do
// not; read-write mounts share nothing.
func TestSharedTreesAreOfOneRevision(t *testing.T) {
	f := newFixture(t)
	url := "counted://bucket" + f.dir + "/key"
	f.commit("key", "file", "one")
	old := f.openMany(3, url, Options{ReadOnly: true})
	f.commit("key", "file", "two")
	young := f.openMany(3, url, Options{ReadOnly: true})
	write := f.open("key", nil)
	f.write(write, "file", "three")
	for i := range 3 {
		for m, want := range map[*Mount]string{old[i]: "one", young[i]: "two"} {
			if b, err := os.ReadFile(m.Path("file")); string(b) != want || err != nil {
				t.Errorf("mount %d has %q, %v; want %q", i, b, err, want)
			}
		}
	}
	if got := requests(t, append(old, young...))["get"].Count; got != 2 {
		t.Errorf("two revisions were fetched %d times", got)
	}
	if old[0].Revision() == young[0].Revision() || young[0].Revision() != young[2].Revision() {
		t.Error("revisions do not tell the mounts apart")
	}
}

// A mount with limits of its own shares with its likes alone, and so much is set
// aside once for all of them.
func TestSharingWithLimits(t *testing.T) {
	f := newFixture(t)
	f.commit("key", "file", "content")
	url := "counted://bucket" + f.dir + "/key"
	big := host.MemoryLimit() / 2 / 4 * 3
	limited := f.openMany(3, url, Options{ReadOnly: true, MaxBytes: big})
	others := []*Mount{limited[0]}
	for _, o := range []Options{
		{}, {MaxInodes: 100}, {Spill: t.TempDir()}, {Owner: &Owner{Keep: true}}, {Owner: &Owner{UID: 1}}, {Dev: true},
	} {
		o.ReadOnly = true
		others = append(others, f.openMany(2, url, o)...)
	}
	if got := requests(t, others)["get"].Count + requests(t, limited[1:])["get"].Count; got != 7 {
		t.Errorf("seven kinds of mounts fetched %d times", got)
	}
	closeAll(t, limited)
	waitFor(t, "what was set aside to be given back", func() bool {
		m, err := f.tryOpen("key", &Options{MaxBytes: big})
		if err == nil {
			f.close(m, false)
		}
		return err == nil
	})
}

// Without an archive there is nothing to share but an empty tree; once there is one
// it is shown.
func TestSharedMountsOfNothing(t *testing.T) {
	f := newFixture(t)
	none := f.openMany(3, f.url("key"), Options{ReadOnly: true, Presence: MayBeAbsent})
	f.commit("key", "file", "content")
	some := f.openMany(3, f.url("key"), Options{ReadOnly: true, Presence: MayBeAbsent})
	for i := range 3 {
		if names, err := os.ReadDir(none[i].Path()); len(names) > 0 || err != nil {
			t.Errorf("nothing has %v, %v", names, err)
		}
		if b, err := os.ReadFile(some[i].Path("file")); string(b) != "content" || err != nil {
			t.Errorf("the archive has %q, %v", b, err)
		}
	}
}

// Everybody gets the warnings of an archive, and the error of one that is refused;
// the next one loads again.
func TestSharedWarningsAndErrors(t *testing.T) {
	f := newFixture(t)
	f.commit("good", "file", "content")
	whole := f.bytes("good")
	f.place("odd", whole[:len(whole)/2])
	opts := &Options{ReadOnly: true}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if m, err := f.tryOpen("odd", opts); !errors.Is(err, archive.ErrFormat) {
				t.Errorf("a bad archive gives %v, %v", m, err)
			}
		})
	}
	wg.Wait()
	f.place("odd", append(whole, "and more"...))
	for _, m := range f.openMany(5, f.url("odd"), *opts) {
		if w := m.Warnings(); len(w) != 2 || !strings.Contains(w[0], "after the end") {
			t.Errorf("the warnings are %q", w)
		}
	}
}

// A mount of others that is busy, was ended by somebody, or has a copy elsewhere is
// no matter of those that share its tree.
func TestSharedMountsEndAlone(t *testing.T) {
	f := newFixture(t)
	f.commit("key", "file", "content")
	mounts := f.openMany(3, f.url("key"), Options{ReadOnly: true, Grace: 1})
	file, err := os.Open(mounts[0].Path("file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var busy *BusyError
	if _, err := mounts[0].Close(t.Context()); !errors.As(err, &busy) {
		t.Errorf("a mount in use is closed: %v", err)
	}
	if err := host.Detach(mounts[1].Path()); err != nil {
		t.Fatal(err)
	}
	f.close(mounts[1], false)
	f.close(mounts[2], false)
	b := make([]byte, 7)
	if _, err := file.ReadAt(b, 0); string(b) != "content" || err != nil {
		t.Errorf("the busy mount has %q, %v", b, err)
	}
	if names, err := filepath.Glob(mounts[0].Path("*")); len(names) != 1 || err != nil {
		t.Errorf("the busy mount shows %q, %v", names, err)
	}
}

// Names are looked up and forgotten by many connections at once, while others come
// and go.
func TestSharedTreeUnderLoad(t *testing.T) {
	f := newFixture(t)
	m := f.open("key", nil)
	for i := range 200 {
		f.write(m, fmt.Sprintf("f%d", i), strings.Repeat(fmt.Sprint(i), 3000))
	}
	f.close(m, true)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				m, err := f.tryOpen("key", &Options{ReadOnly: true, Grace: DefaultGrace})
				if err != nil {
					t.Error(err)
					return
				}
				for i := range 200 {
					b, err := os.ReadFile(m.Path(fmt.Sprintf("f%d", i)))
					if err != nil || !bytes.Equal(b, bytes.Repeat([]byte(fmt.Sprint(i)), 3000)) {
						t.Errorf("f%d has %d bytes, %v", i, len(b), err)
					}
				}
				if _, err := m.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
