package mount

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/workdir/workdir/store"
)

// unflushed is a file store that cannot make visible archives durable.
type unflushed struct{ store.Store }

func (unflushed) Sync(context.Context, string) error {
	return fmt.Errorf("%w: flush: %w", store.ErrUnreachable, syscall.EIO)
}

// In the client and in the server.
func init() {
	store.Register("unflushed", func(ctx context.Context, _ store.URL) (store.Store, error) {
		s, err := store.OpenBucket(ctx, store.URL{Scheme: "file"})
		return unflushed{s}, err
	})
}

// The result of a step was once returned from a commit that could be seen, though the
// directory that it is in had never been flushed.
func TestAStepThatIsNotDurableIsNotDone(t *testing.T) {
	f := newFixture(t)
	open := func(attempt int32) (*Mount, error) {
		opts := stepOptions("run", "1", attempt)
		opts.RunDir = f.runDir
		return Open(t.Context(), "unflushed://bucket"+f.dir+"/k", opts)
	}
	mounts := make([]*Mount, 2)
	for i := range mounts {
		var err error
		if mounts[i], err = open(int32(i + 1)); err != nil {
			t.Fatal(err)
		}
		f.work(mounts[i], "content", "result")
	}
	f.close(mounts[0], false)
	_, err := mounts[1].Close(t.Context())
	if errors.Is(err, ErrAlreadyCommitted) || !errors.Is(err, store.ErrConflict) {
		t.Errorf("Close = %v, want the conflict alone", err)
	}
	_, err = open(3)
	if errors.Is(err, ErrAlreadyCommitted) || !errors.Is(err, store.ErrUnreachable) {
		t.Errorf("Open = %v, want ErrUnreachable", err)
	}
}
