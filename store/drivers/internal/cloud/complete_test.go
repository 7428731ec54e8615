package cloud

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

// talkative is a backend that can tell how a name goes on.
type talkative struct{ *memory }

func (b *talkative) Names(ctx context.Context, prefix string, limit int) (names []string, err error) {
	err = b.request(ctx, "list", func() error {
		for name := range b.objects {
			rest, found := strings.CutPrefix(name, prefix)
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				rest = rest[:i+1]
			}
			if found && len(names) < limit && !slices.Contains(names, prefix+rest) {
				names = append(names, prefix+rest)
			}
		}
		return nil
	})
	return names, err
}

func TestComplete(t *testing.T) {
	b := &talkative{memory: newMemory()}
	for _, name := range []string{"team/jobs/a.tar.gz", "team/jobs/ab.tar.gz", "team/jobs/a/b.tar.gz", "team/jobs/a.txt", "team/jobs/.tar.gz", "team/jobs/.workdir-probe-1", "team/jobs/.workdir-doctor-9/trial.tar.gz", "team/job.tar.gz", "other/x.tar.gz"} {
		b.objects[name] = memoryObject{}
	}
	s := &cloudStore{backend: b, prefix: "team/"}
	for start, want := range map[string][]string{
		"jobs/a":  {"jobs/a", "jobs/a/", "jobs/ab"},
		"jobs/":   {"jobs/a", "jobs/a/", "jobs/ab"},
		"jobs/ab": {"jobs/ab"},
		"job":     {"job", "jobs/"},
		"":        {"job", "jobs/"},
		"x":       nil,
	} {
		got, err := s.Complete(context.Background(), start, 100)
		if slices.Sort(got); !slices.Equal(got, want) || err != nil {
			t.Errorf("%q: %q, %v; want %q", start, got, err, want)
		}
	}
	if got, err := s.Complete(context.Background(), "", 1); len(got) != 1 || err != nil {
		t.Errorf("with a limit: %q, %v", got, err)
	}
	b.fails("list", refuse(Denied))
	if _, err := s.Complete(context.Background(), "jobs/", 100); !errors.Is(err, store.ErrNotAllowed) {
		t.Errorf("a list that is denied: %v", err)
	}
	if _, err := (&cloudStore{backend: newMemory()}).Complete(context.Background(), "", 1); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a backend without names: %v", err)
	}
}
