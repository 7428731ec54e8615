package doctor_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/doctor"
	"github.com/workdir/workdir/store"
)

// cloud is a store whose bucket can be asked.
type cloud struct {
	store.Store
	bucket doctor.Bucket
}

func (c *cloud) Doctor() *doctor.Bucket { return &c.bucket }

var (
	errDenied      = errors.New("two\nlines")
	errUnsupported = errors.New("what?")
	errBroken      = errors.New("broken")
)

// meaning is that of the errors above.
func meaning(err error) (kind error, text, todo string) {
	switch err {
	case errDenied:
		return store.ErrNotAllowed, "denied", "log in"
	case errUnsupported:
		return errors.ErrUnsupported, "unsupported", ""
	}
	return store.ErrUnreachable, err.Error(), ""
}

// healthy is a bucket with all there is to ask.
func healthy() doctor.Bucket {
	return doctor.Bucket{
		Place: "at home", Prefix: "team/", Meaning: meaning,
		Credentials: func(context.Context) (string, error) { return "of the test", nil },
		Settings: func(_ context.Context, name string, unseen doctor.Unseen) []doctor.Check {
			return []doctor.Check{
				doctor.Good("name", name),
				unseen("secret", "to look", errDenied), unseen("unknown", "to look", errUnsupported), unseen("broken", "to look", errBroken),
			}
		},
		Names: func(context.Context, string, int) ([]string, error) { return nil, nil },
	}
}

// ask returns the checks of a bucket, in order.
func ask(t *testing.T, s store.Store) (checks []doctor.Check) {
	t.Helper()
	opened = s
	err := doctor.Diagnose(t.Context(), doctor.Target{URL: store.URL{Scheme: "cloud", Bucket: "b", Key: "jobs/k"}}, &doctor.Options{Quick: true}, func(c doctor.Check) { checks = append(checks, c) })
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// opened is what URLs of the scheme cloud lead to.
var opened store.Store

func init() {
	store.Register("cloud", func(context.Context, store.URL) (store.Store, error) { return opened, nil })
}

func TestDiagnoseCloud(t *testing.T) {
	got := ask(t, &cloud{memory(t), healthy()})
	want := []doctor.Check{
		{Name: "credentials", Status: doctor.OK, Detail: "of the test"},
		{Name: "bucket", Status: doctor.OK, Detail: "at home"},
		{Name: "name", Status: doctor.OK},
		{Name: "secret", Status: doctor.Skip, Detail: "could not look: these credentials may not", Fix: "grant the permission to look"},
		{Name: "unknown", Status: doctor.Skip, Detail: "could not look: this server cannot tell"},
		{Name: "broken", Status: doctor.Skip, Detail: "could not look: broken"},
		{Name: "leftovers", Status: doctor.OK, Detail: "no scratch objects of programs that were killed"},
	}
	if name := got[2].Detail; !strings.HasPrefix(name, "team/jobs/.workdir-doctor-") || !strings.HasSuffix(name, "/trial.tar.gz") {
		t.Errorf("asked for the settings of %q", name)
	}
	got[2].Detail = ""
	if !slices.Equal(got[:len(want)], want) || got[len(want)].Name != "list" {
		t.Errorf("checks:\n%v\nwant\n%v", got, want)
	}
	if last := got[len(got)-1]; last.Name != "left behind" || last.Status != doctor.OK {
		t.Errorf("%+v", last)
	}
}

func TestDiagnoseStopsAtWhatFails(t *testing.T) {
	after := []string{"archives", "left behind"}
	names := func(checks []doctor.Check) (names []string) {
		for _, c := range checks {
			names = append(names, c.Name)
		}
		return names
	}
	b := healthy()
	b.Credentials = func(context.Context) (string, error) { return "", errDenied }
	got := ask(t, &cloud{memory(t), b})
	if want := (doctor.Check{Name: "credentials", Status: doctor.Fail, Detail: "denied", Fix: "log in"}); got[0] != want || !slices.Equal(names(got[1:]), after) {
		t.Errorf("with bad credentials: %+v", got)
	}
	refusing := &odd{Store: memory(t), missing: &store.Error{Op: "stat", Object: "cloud://b/k", Kind: store.ErrURL, Todo: "make the bucket"}}
	got = ask(t, &cloud{refusing, healthy()})
	want := doctor.Check{Name: "bucket", Status: doctor.Fail, Detail: "at home: stat cloud://b/k: bad workspace URL", Fix: "make the bucket"}
	if got[1] != want || !slices.Equal(names(got[2:]), after) {
		t.Errorf("without a bucket: %+v", got)
	}
}

func TestDiagnoseLeftovers(t *testing.T) {
	leftovers := func(names []string, err error) doctor.Check {
		b := healthy()
		b.Names = func(_ context.Context, prefix string, _ int) ([]string, error) {
			if prefix != "team/jobs/.workdir-" {
				t.Errorf("asked for names that begin with %q", prefix)
			}
			return names, err
		}
		for _, c := range ask(t, &cloud{memory(t), b}) {
			if c.Name == "leftovers" {
				return c
			}
		}
		return doctor.Check{}
	}
	c := leftovers([]string{"team/jobs/.workdir-probe-1", "team/jobs/.workdir-doctor-9/"}, nil)
	if c.Status != doctor.Warn || !strings.HasPrefix(c.Detail, "2 scratch objects") || !strings.Contains(c.Fix, "team/jobs/.workdir-") {
		t.Errorf("%+v", c)
	}
	if c = leftovers(nil, errDenied); c.Status != doctor.Skip || c.Fix == "" {
		t.Errorf("a list that is denied: %+v", c)
	}
}

// A bucket of which nothing is known is only asked for.
func TestDiagnosePlainCloud(t *testing.T) {
	got := ask(t, &cloud{memory(t), doctor.Bucket{Place: "somewhere"}})
	if want := (doctor.Check{Name: "bucket", Status: doctor.OK, Detail: "somewhere"}); got[0] != want || got[1].Name != "list" {
		t.Errorf("checks %v", got)
	}
}
