package serve

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// serverHere serves in the test's process, so that the race detector sees it.
func serverHere(t *testing.T) *server {
	t.Helper()
	ours, theirs := net.Pipe()
	s := newServer(nil)
	s.local = true
	s.session = t.TempDir()
	if err := os.Mkdir(filepath.Join(s.session, host.RecordsName), 0o700); err != nil {
		t.Fatal(err)
	}
	refuse := func(context.Context, *ipc.Conn, string, json.RawMessage) (any, error) { return nil, wire.ErrClosed }
	s.conn = ipc.New(theirs, refuse, wire.Codec)
	client := ipc.New(ours, func(_ context.Context, _ *ipc.Conn, method string, _ json.RawMessage) (any, error) {
		return wire.Decision{}, nil
	}, wire.Codec)
	t.Cleanup(func() { client.Close(); s.conn.Close() })
	return s
}

// Status and Revoke look at a mount without owning it. During a Close, what they looked at
// was once gone, and the panic ended all mounts of the client.
func TestLooksWhileAMountCloses(t *testing.T) {
	s := serverHere(t)
	for name, look := range map[string]func(*hosted){
		"status": func(h *hosted) { h.status() },
		"revoke": func(h *hosted) { h.revoke() },
	} {
		t.Run(name, func(t *testing.T) {
			for i := range 30 {
				h := newHosted(s, wire.OpenRequest{ID: uint64(i + 1), URL: store.URL{Scheme: "file", Key: strings.TrimPrefix(t.TempDir(), "/") + "/k"}, Dir: ipc.Path(t.TempDir()), Source: "k", GraceNS: int64(time.Minute)})
				if err := h.open(t.Context()); err != nil {
					t.Fatal(err)
				}
				var lookers sync.WaitGroup
				stop := make(chan struct{})
				for range 2 {
					lookers.Go(func() {
						for {
							select {
							case <-stop:
								return
							default:
								look(h)
							}
						}
					})
				}
				if _, err := h.close(t.Context()); err != nil {
					t.Error(err)
				}
				s.freeing.Wait()
				close(stop)
				lookers.Wait()
				if _, err := h.close(t.Context()); !errors.Is(err, wire.ErrClosed) {
					t.Errorf("close again = %v, want wire.ErrClosed", err)
				}
			}
		})
	}
}
