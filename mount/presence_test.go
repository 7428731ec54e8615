package mount

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// A read-only mount of a URL with a typing error was once an empty directory.
func TestPresence(t *testing.T) {
	f := newFixture(t)
	f.commit("there", "file", "content")
	none := errors.New("no error")
	tests := []struct {
		presence         Presence
		readOnly         bool
		absent, existing error
	}{
		{PresenceDefault, false, none, none},
		{PresenceDefault, true, store.ErrNotExist, none},
		{MustExist, false, store.ErrNotExist, none},
		{MustExist, true, store.ErrNotExist, none},
		{MayBeAbsent, false, none, none},
		{MayBeAbsent, true, none, none},
		{MustBeNew, false, none, ErrExist},
	}
	for _, tt := range tests {
		for _, plain := range []bool{false, true} {
			opts := &Options{Presence: tt.presence, ReadOnly: tt.readOnly, Plain: plain}
			for key, want := range map[string]error{"absent": tt.absent, "there": tt.existing} {
				m, err := f.tryOpen(key, opts)
				if err == nil {
					f.close(m, false)
					err = none
				}
				if !errors.Is(err, want) {
					t.Errorf("Presence %q, read-only %v, plain %v: %s is %v, want %v", tt.presence, tt.readOnly, plain, key, err, want)
				}
			}
		}
	}
}

func TestPresenceRefused(t *testing.T) {
	f := newFixture(t)
	for text, opts := range map[string]Options{
		`presence: "new" is unknown; write "mustExist"`:              {Presence: "new"},
		"presence: a workspace that must be new cannot be read-only": {Presence: MustBeNew, ReadOnly: true},
	} {
		if _, err := f.tryOpen("k", &opts); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", opts, err, text)
		}
	}
}

// An empty tree that a mount shows because it may be absent is shared by those alone
// that accept it.
func TestPresenceOfASharedTree(t *testing.T) {
	f := newFixture(t)
	empty := f.open("absent", &Options{ReadOnly: true, Presence: MayBeAbsent})
	if _, err := f.tryOpen("absent", &Options{ReadOnly: true}); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("the second open is %v, want store.ErrNotExist", err)
	}
	f.close(empty, false)
}

// The second attempt of a step that made its workspace finds the archive there.
func TestMustBeNewIsDoneOnce(t *testing.T) {
	f := newFixture(t)
	opts := &Options{Presence: MustBeNew, Origin: archive.Origin{Execution: "e", Step: "1"}, Grace: time.Minute}
	m := f.open("k", opts)
	f.write(m, "file", "content")
	f.close(m, true)
	var done *CommittedError
	if _, err := f.tryOpen("k", opts); !errors.As(err, &done) {
		t.Errorf("the same step: %v, want a *CommittedError", err)
	}
	opts.Origin.Step = "2"
	if _, err := f.tryOpen("k", opts); !errors.Is(err, ErrExist) {
		t.Errorf("another step: %v, want ErrExist", err)
	}
}

// If a workspace that must be new exists, its archive is not read: it may be large, or
// damaged.
func TestMustBeNewReadsNothing(t *testing.T) {
	f := newFixture(t)
	if err := os.WriteFile(f.archive("k"), []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.tryOpen("k", &Options{Presence: MustBeNew}); !errors.Is(err, ErrExist) {
		t.Errorf("Open = %v, want ErrExist", err)
	}
}

func TestMustBeNewAndOvertaken(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{Presence: MustBeNew, Grace: time.Minute})
	f.write(m, "file", "mine")
	f.commit("k", "file", "theirs")
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Close(t.Context()); !errors.Is(err, store.ErrConflict) {
		t.Errorf("Close = %v, want a conflict", err)
	}
}
