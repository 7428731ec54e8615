package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// temporary lists the files of a commit under way beside the archives.
func (f *fixture) temporary() []string {
	f.t.Helper()
	names, err := filepath.Glob(filepath.Join(f.dir, ".workdir", ".*"))
	if err != nil {
		f.t.Fatal(err)
	}
	return names
}

func TestBeforeStoreIsAskedTwice(t *testing.T) {
	fenced := errors.New("fenced off")
	ends := map[string]func(*fixture, *Mount){
		"stored": func(f *fixture, m *Mount) { f.write(m, "name", "after") },
		"deleted": func(f *fixture, m *Mount) {
			if err := os.Remove(m.Path("name")); err != nil {
				f.t.Fatal(err)
			}
		},
	}
	for name, end := range ends {
		for refused := range 3 {
			t.Run(fmt.Sprintf("%s, refused at %d", name, refused), func(t *testing.T) {
				f := newFixture(t)
				f.commit("k", "name", "before")
				before := f.bytes("k")
				asked := 0
				m := f.open("k", &Options{Grace: time.Minute, BeforeStore: func(context.Context) error {
					asked++
					if asked == 1 && len(f.temporary()) > 0 {
						t.Error("something is at the store before the first question")
					}
					if asked == 2 && name == "stored" && len(f.temporary()) == 0 {
						t.Error("nothing is at the store before the second question")
					}
					if asked == refused {
						return fenced
					}
					return nil
				}})
				end(f, m)
				if err := m.Commit(); err != nil {
					t.Fatal(err)
				}
				res, err := m.Close(t.Context())
				changed := string(f.bytes("k")) != string(before)
				if refused == 0 {
					if err != nil || asked != 2 || !changed {
						t.Errorf("Close = %+v, %v after %d questions, want it stored after two", res, err, asked)
					}
					return
				}
				if !errors.Is(err, ErrCommit) || !errors.Is(err, fenced) || asked != refused || changed {
					t.Errorf("Close = %v after %d questions, changed %v; want ErrCommit and the refusal itself, after %d", err, asked, changed, refused)
				}
			})
		}
	}
}
