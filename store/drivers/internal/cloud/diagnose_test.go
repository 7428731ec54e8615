package cloud

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

// talkative is a backend that can tell of its bucket.
type talkative struct {
	*memory
	credentials store.CheckStatus
	asked       string // the name that Settings was asked for
}

func (b *talkative) Place() string { return "at home" }

func (b *talkative) Credentials(context.Context) store.Check {
	return store.Check{Name: "credentials", Status: b.credentials, Detail: "of the test"}
}

func (b *talkative) Settings(_ context.Context, name string) []store.Check {
	b.asked = name
	return []store.Check{
		Unseen(b, "secret", "to look", refusalError(Denied)),
		Unseen(b, "unknown", "to look", refusalError(Unsupported)),
		Unseen(b, "broken", "to look", errors.New("two\nlines")),
	}
}

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

func (b *talkative) checks(key string) []store.Check {
	s := &cloudStore{backend: b, prefix: "team/"}
	return s.Diagnose(context.Background(), key)
}

const trial = "jobs/.workdir-doctor-0123/trial"

func TestDiagnose(t *testing.T) {
	b := &talkative{memory: newMemory(), credentials: store.CheckOK}
	got := b.checks(trial)
	want := []store.Check{
		{Name: "credentials", Status: store.CheckOK, Detail: "of the test"},
		{Name: "bucket", Status: store.CheckOK, Detail: "at home"},
		{Name: "secret", Status: store.CheckSkip, Detail: "could not look: these credentials may not", Fix: "the permission to look lets them"},
		{Name: "unknown", Status: store.CheckSkip, Detail: "could not look: this server cannot tell"},
		{Name: "broken", Status: store.CheckSkip, Detail: "could not look: two lines"},
		{Name: "leftovers", Status: store.CheckOK, Detail: "no scratch objects of programs that were killed"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("checks:\n%v\nwant\n%v", got, want)
	}
	if b.asked != "team/"+trial+suffix {
		t.Errorf("asked for the settings of %q", b.asked)
	}
	if sent := b.sent(); len(sent) != 2 {
		t.Errorf("requests %q, want one for the bucket and one list", sent)
	}
}

func TestDiagnoseStopsAtWhatFails(t *testing.T) {
	b := &talkative{memory: newMemory(), credentials: store.CheckFail}
	if got := b.checks(trial); len(got) != 1 || b.sent() != nil {
		t.Errorf("after bad credentials: %v", got)
	}
	b = &talkative{memory: newMemory(), credentials: store.CheckOK}
	b.noBucket = true
	got := b.checks(trial)
	if c := got[len(got)-1]; len(got) != 2 || c.Name != "bucket" || c.Status != store.CheckFail || !strings.HasPrefix(c.Detail, "at home: ") || c.Fix != todos[NoBucket] {
		t.Errorf("without a bucket: %v", got)
	}
}

func TestDiagnoseLeftovers(t *testing.T) {
	b := &talkative{memory: newMemory(), credentials: store.CheckOK}
	for _, name := range []string{"team/jobs/.workdir-probe-1", "team/jobs/.workdir-doctor-9/trial.tar.gz", "team/jobs/.workdir-doctor-9/b", "team/jobs/a.tar.gz", "team/.workdir-probe-2"} {
		b.objects[name] = memoryObject{}
	}
	got := b.checks(trial)
	if c := got[len(got)-1]; c.Status != store.CheckWarn || !strings.HasPrefix(c.Detail, "2 scratch objects") || !strings.Contains(c.Fix, "team/jobs/.workdir-") {
		t.Errorf("leftovers: %+v", c)
	}
	b.fails("list", refuse(Denied))
	got = b.checks(trial)
	if c := got[len(got)-1]; c.Status != store.CheckSkip || c.Fix == "" {
		t.Errorf("a list that is denied: %+v", c)
	}
}

// A backend that knows nothing of itself is asked for the bucket alone.
func TestDiagnosePlainBackend(t *testing.T) {
	m := newMemory()
	got := (&cloudStore{backend: m}).Diagnose(context.Background(), trial)
	if len(got) != 1 || got[0].Name != "bucket" || got[0].Detail != m.endpoint {
		t.Errorf("checks %v", got)
	}
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
