package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/workdir/workdir/store"
)

// appendTo appends a line to a file of a mount.
func appendTo(t *testing.T, m *Mount, name, line string) {
	t.Helper()
	f, err := os.OpenFile(m.Path(name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(line)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMergeParallelWork checks that in any order, everything that six mounts have done to
// six files is there, whether or not there was an archive before.
func TestMergeParallelWork(t *testing.T) {
	for _, base := range []bool{true, false} {
		f := newFixture(t)
		if base {
			m := f.open("k", nil)
			for i := range 6 {
				f.write(m, fmt.Sprint(i), "a\n")
			}
			f.close(m, true)
		}
		var mounts []*Mount
		for i := range 6 {
			m := f.open("k", &Options{OnConflict: Merge})
			appendTo(t, m, fmt.Sprint(i), "b\n")
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			mounts = append(mounts, m)
		}
		var closing sync.WaitGroup
		merged := make([]bool, len(mounts))
		for i, m := range mounts {
			closing.Go(func() {
				res, err := m.Close(context.Background())
				if err != nil || !res.Stored {
					t.Errorf("close of %d: %+v, %v", i, res, err)
				}
				merged[i] = res.Merged
			})
		}
		closing.Wait()
		if n := len(slices.DeleteFunc(merged, func(m bool) bool { return !m })); n != len(mounts)-1 {
			t.Errorf("%d of %d were merged", n, len(mounts))
		}
		m := f.open("k", &Options{ReadOnly: true})
		for i := range 6 {
			want := "b\n"
			if base {
				want = "a\nb\n"
			}
			if got, err := os.ReadFile(m.Path(fmt.Sprint(i))); err != nil || string(got) != want {
				t.Errorf("file %d is %q, %v", i, got, err)
			}
		}
		f.close(m, false)
	}
}

// TestMergeOfOnePath: it is a conflict, which names the path, and nothing is stored; as it is
// without Merge, and for a workspace that must be new.
func TestMergeOfOnePath(t *testing.T) {
	tests := []struct {
		name   string
		opts   Options
		file   string
		others bool // there is an archive when it is opened
		paths  []string
	}{
		{"the same file", Options{OnConflict: Merge}, "same", true, []string{"same"}},
		{"without merging", Options{}, "other", true, nil},
		{"must be new", Options{OnConflict: Merge, Presence: MustBeNew}, "other", false, nil},
		{"the same new file", Options{OnConflict: Merge}, "same", false, []string{"same"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			if test.others {
				m := f.open("k", nil)
				f.write(m, "same", "base")
				f.close(m, true)
			}
			m := f.open("k", &test.opts)
			f.write(m, test.file, "mine")
			winner := f.open("k", nil)
			f.write(winner, "same", "theirs")
			f.close(winner, true)
			before := f.bytes("k")
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			res, err := m.Close(t.Context())
			var conflict *store.ConflictError
			if !errors.As(err, &conflict) || res.Stored || res.Merged {
				t.Fatalf("close: %+v, %v", res, err)
			}
			if !slices.Equal(conflict.Paths, test.paths) {
				t.Errorf("the paths are %q, want %q", conflict.Paths, test.paths)
			}
			if string(f.bytes("k")) != string(before) {
				t.Error("the archive was changed")
			}
		})
	}
}

// A policy that is a typing error is refused before anything is done.
func TestUnknownConflictPolicy(t *testing.T) {
	f := newFixture(t)
	if err := f.refused("k", &Options{OnConflict: "merged"}); err == nil {
		t.Error("it was taken")
	}
}
