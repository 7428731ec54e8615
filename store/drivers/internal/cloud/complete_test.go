package cloud

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/workdir/workdir/store"
)

func TestComplete(t *testing.T) {
	b := newMemory()
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
}
