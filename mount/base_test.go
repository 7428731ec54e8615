package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/serve"
	"github.com/workdir/workdir/store"
)

// onlyTheEnd is a file store that serves only the end of its archives, so that they can be
// opened. For everything else it returns an error, or never answers, by the name of the
// workspace.
type onlyTheEnd struct{ store.Store }

// patienceVariable sets serve.ReadPatience.
const patienceVariable = "WORKDIR_TEST_PATIENCE"

func init() { // in the client and in the server
	if d, err := time.ParseDuration(os.Getenv(patienceVariable)); err == nil {
		serve.ReadPatience = d
	}
	store.Register("onlytheend", func(ctx context.Context, u store.URL) (store.Store, error) {
		s, err := store.OpenBucket(ctx, store.URL{Scheme: "file"})
		return onlyTheEnd{s}, err
	})
}

func (s onlyTheEnd) Open(ctx context.Context, key string) (store.Object, error) {
	obj, err := s.Store.Open(ctx, key)
	if err == nil {
		obj = endObject{obj, key}
	}
	return obj, err
}

type endObject struct {
	store.Object
	key string
}

func (o endObject) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off >= o.Info().Size-archive.OpenRead:
		return o.Object.ReadAt(p, off)
	case strings.HasSuffix(o.key, "/silent"):
		select {} // as a server that takes the request and is never heard of again
	}
	return 0, fmt.Errorf("%w: somebody has replaced it", store.ErrConflict)
}

// Lost content is EIO, with the reason in the status and in the error of a commit that
// needs it; everything else works.
func TestReplacedBase(t *testing.T) {
	f := newFixture(t)
	f.commit("gone", "file", noise(4<<20))
	before := f.bytes("gone")
	m, err := Open(t.Context(), "onlytheend://here"+f.dir+"/gone", &Options{RunDir: f.runDir})
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(m.Path("file")); err != nil || fi.Size() != 4<<20 {
		t.Errorf("the file is %v, %v", fi, err)
	}
	if _, err := os.ReadFile(m.Path("file")); !errors.Is(err, unix.EIO) {
		t.Errorf("reading what is gone = %v, want EIO", err)
	}
	status, err := m.Status(t.Context())
	if err != nil || !strings.Contains(status.ReadError, "somebody has replaced it") {
		t.Errorf("the status says %q, %v", status.ReadError, err)
	}
	f.write(m, "other", "new")
	if got, err := os.ReadFile(m.Path("other")); string(got) != "new" || err != nil {
		t.Errorf("a new file has %q, %v", got, err)
	}
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "somebody has replaced it") {
		t.Errorf("Close = %v, want the reason", err)
	}
	if after := f.bytes("gone"); string(after) != string(before) {
		t.Error("the archive was changed")
	}
}

// A store that is silent keeps neither other mounts nor an unmount waiting.
func TestSilentStore(t *testing.T) {
	f := newFixture(t)
	f.commit("silent", "file", noise(4<<20))
	f.commit("other", "file", "content")
	m, err := Open(t.Context(), "onlytheend://here"+f.dir+"/silent", &Options{RunDir: f.runDir})
	if err != nil {
		t.Fatal(err)
	}
	other := f.open("other", nil)
	if got, err := os.ReadFile(other.Path("file")); string(got) != "content" || err != nil {
		t.Errorf("another mount has %q, %v", got, err)
	}
	f.close(other, false)
	if _, err := m.Close(t.Context()); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// readInBackground begins to read a file, and returns a channel for its error.
func readInBackground(path string) <-chan error {
	read := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(path)
		read <- err
	}()
	return read
}

// A read that a store does not answer is EIO in the end, with the reason in the status.
// Until then it keeps neither other mounts nor Close waiting.
func TestReadFromSilentStore(t *testing.T) {
	t.Setenv(patienceVariable, "1s")
	f := newFixture(t)
	f.commit("silent", "file", noise(4<<20))
	f.commit("other", "file", "content")
	m, err := Open(t.Context(), "onlytheend://here"+f.dir+"/silent", &Options{RunDir: f.runDir, Grace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	read := readInBackground(m.Path("file"))
	waitFor(t, "the read to begin", func() bool {
		s, err := m.Status(t.Context())
		return err == nil && s.Requests["READ"] > 0
	})
	other := f.open("other", nil)
	if got, err := os.ReadFile(other.Path("file")); string(got) != "content" || err != nil {
		t.Errorf("another mount has %q, %v", got, err)
	}
	f.close(other, false)
	if _, err := m.Close(t.Context()); err != nil && !errors.Is(err, ErrBusy) {
		t.Errorf("Close while somebody reads = %v", err)
	}
	if err := <-read; !errors.Is(err, unix.EIO) {
		t.Errorf("the read = %v, want EIO", err)
	}
	if status, err := m.Status(t.Context()); err != nil || !strings.Contains(status.ReadError, archive.ErrStalled.Error()) {
		t.Errorf("the status says %q, %v", status.ReadError, err)
	}
	if _, err := m.Close(t.Context()); err != nil {
		t.Errorf("Close = %v", err)
	}
}

// Mounts of one revision share the content that is read, even if they are writable.
func TestMountsShareTheirBase(t *testing.T) {
	f := newFixture(t)
	content := noise(4 << 20)
	size := f.commit("key", "file", content).Size
	mounts := f.openMany(10, "counted://bucket"+f.dir+"/key", Options{})
	for i, m := range mounts {
		file, err := os.Open(m.Path("file"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(file)
		file.Close()
		if string(got) != content || err != nil {
			t.Errorf("mount %d has %d bytes, %v", i, len(got), err)
		}
		f.write(m, "file", fmt.Sprint(i)) // its own from here on
	}
	// Fetching ahead may read at the same time, and two mounts that open at once both read
	// the end.
	if got := requests(t, mounts)["get"].Received; got > 2*size+10*archive.OpenRead {
		t.Errorf("10 mounts of %d bytes have read %d", size, got)
	}
	for i, m := range mounts {
		if got, err := os.ReadFile(m.Path("file")); string(got) != fmt.Sprint(i) || err != nil {
			t.Errorf("mount %d has %q, %v", i, got, err)
		}
	}
}
