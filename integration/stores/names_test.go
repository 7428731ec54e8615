package stores

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

// The names of objects are the keys, as they are written.
func TestNames(t *testing.T) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket := newBucket(t, s)
		keys := []string{"a b%20+?&ü", ".x/..y", "a./b", "dots...", `q"'<>`, "50%", strings.Repeat("k", 200)}
		if s.Kind != S3 { // which stands on a file system here
			keys = append(keys, "a//b", strings.Repeat("k", 1024-len(".tar.gz")))
		}
		if s.Kind != Azure { // Azurite takes it for a slash
			keys = append(keys, `back\slash`)
		}
		opened := s.open(t, bucket)
		for _, key := range keys {
			_, err := opened.Put(t.Context(), key, writing([]byte(key)), nil)
			noError(t, err)
		}
		names, err := s.client.names(t.Context(), bucket)
		noError(t, err)
		for _, key := range keys {
			if !slices.Contains(names, key+".tar.gz") {
				t.Errorf("no object is named as the key %q: %q", key, names)
			}
		}
		infos, _, err := opened.(store.Pager).ListPage(t.Context(), "", "50%", 1)
		if err != nil || len(infos) != 1 || infos[0].Key != keys[0] {
			t.Errorf("behind %q there is %+v, %v", "50%", infos, err)
		}
	})
}

// Most of an archive is kept by the stores that can compose, whatever its name, and what is
// kept is not sent.
func TestComposeSendsWhatIsNew(t *testing.T) {
	const part, key = 8 << 20, "dir +/a b%20+&ü"
	base := make([]byte, 4*part+77)
	_, _ = rand.Read(base) // never fails
	onEach(t, func(t *testing.T, s *Server) {
		opened := s.open(t, newBucket(t, s))
		info, err := opened.Put(t.Context(), key, writing(base), nil)
		noError(t, err)
		o, err := store.OpenTail(t.Context(), opened, key, 0)
		noError(t, err)
		defer o.Close()
		before := sent(opened)
		_, err = store.Compose(t.Context(), opened, key, o, []store.Piece{
			{Len: 2 * part}, {Write: writing([]byte("new"))}, {Off: 2*part + 3, Len: 2*part + 74},
		}, &store.PutOptions{Replace: info.Revision})
		noError(t, err)
		after := sent(opened)
		got, err := opened.Open(t.Context(), key)
		noError(t, err)
		content, err := io.ReadAll(got)
		noError(t, errors.Join(err, got.Close()))
		if want := slices.Concat(base[:2*part], []byte("new"), base[2*part+3:]); !bytes.Equal(content, want) {
			t.Errorf("%d bytes came back, want %d", len(content), len(want))
		}
		if composes := s.Kind != GS; composes != (after-before < part+part/4) {
			t.Errorf("%d bytes were sent of %d", after-before, len(base))
		}
	})
}

func sent(s store.Store) (sum int64) {
	for _, r := range store.TrafficOf(s) {
		sum += r.Sent
	}
	return sum
}
