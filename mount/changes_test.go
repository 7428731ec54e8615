package mount

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestChanges: more than are sent at a time, to the owner and to others, whole and in part.
func TestChanges(t *testing.T) {
	for _, view := range []View{ViewOverlay, ViewFUSE, ViewPlain} {
		t.Run(string(view), func(t *testing.T) {
			f := newFixture(t)
			m := f.open("job", &Options{View: view})
			const files = 2500
			shell(t, m, fmt.Sprintf("seq -w %d | sed s/^/a-name-that-is-quite-long-/ | xargs touch", files))
			r, err := Find(t.Context(), m.Path(), f.runDir)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second after one that ended early
				n, last := 0, ""
				for c, err := range m.Changes(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					if n++; c.Change != "created" || c.Kind != "file" || c.Size != 0 || c.Path <= last || !strings.HasPrefix(c.Path, "a-name") {
						t.Fatalf("after %q: %+v", last, c)
					}
					last = c.Path
				}
				if n != files {
					t.Errorf("%d changes are listed", n)
				}
				n = 0
				for c, err := range r.Changes(t.Context()) {
					if err != nil || c.Change != "created" {
						t.Fatalf("%+v, %v", c, err)
					}
					if n++; n == 1500 {
						break
					}
				}
			}
			ctx, stop := context.WithCancel(t.Context())
			stop()
			f.wantChangesError(m.Changes(ctx), context.Canceled)
			f.close(m, false)
			f.wantChangesError(m.Changes(t.Context()), ErrClosed)
			f.wantChangesError(r.Changes(t.Context()), ErrNotMounted)
		})
	}
}

func (f *fixture) wantChangesError(changes func(func(Change, error) bool), want error) {
	f.t.Helper()
	n := 0
	for c, err := range changes {
		if n++; !errors.Is(err, want) {
			f.t.Errorf("%+v, %v; want %v", c, err, want)
		}
	}
	if n != 1 {
		f.t.Errorf("%d were yielded; want the error %v alone", n, want)
	}
}
