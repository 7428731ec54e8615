package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
)

// clutter is a directory of workspaces: old-1 to old-3 of 40, 39 and 38 days ago, new of now,
// each with two versions, and one that is gone but for its versions.
type clutter struct {
	t   *testing.T
	dir string
}

func newClutter(t *testing.T) *clutter {
	t.Helper()
	c := &clutter{t: t, dir: t.TempDir()}
	for i, name := range []string{"old-1", "old-2", "old-3", "sub/old-4", "new", "gone"} {
		k := newKept(t, c.dir+"/"+name, store.Keep{Last: 9})
		for range 3 {
			k.commit()
		}
		if name != "new" {
			c.age(name, time.Duration(40-i)*24*time.Hour)
		}
	}
	noError(t, os.Remove(c.dir+"/gone.tar.gz"))
	return c
}

// age sets the times of a workspace and its versions back.
func (c *clutter) age(name string, by time.Duration) {
	c.t.Helper()
	dir, last := "", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, last = name[:i+1], name[i+1:]
	}
	versions, err := os.ReadDir(c.dir + "/" + dir + ".workdir-versions/" + last)
	noError(c.t, err)
	paths := []string{c.dir + "/" + name + ".tar.gz"}
	for _, v := range versions {
		paths = append(paths, c.dir+"/"+dir+".workdir-versions/"+last+"/"+v.Name())
	}
	for _, path := range paths {
		at := time.Now().Add(-by)
		noError(c.t, os.Chtimes(path, at, at))
	}
}

// prune returns what went and which versions, as "name:2" or "name" for versions alone.
func (c *clutter) prune(opts *store.PruneOptions) string {
	c.t.Helper()
	pruned, err := store.Prune(c.t.Context(), c.dir, opts)
	noError(c.t, err)
	var words []string
	for _, p := range pruned {
		switch {
		case p.Removed:
			words = append(words, fmt.Sprintf("-%s:%d", p.Name, len(p.Dropped)))
		case len(p.Dropped) > 0:
			words = append(words, fmt.Sprintf("%s:%d", p.Name, len(p.Dropped)))
		}
	}
	return strings.Join(words, " ")
}

func (c *clutter) wantLeft(want string) {
	c.t.Helper()
	found, err := store.UsageOf(c.t.Context(), c.dir, true)
	noError(c.t, err)
	var words []string
	for _, u := range found {
		words = append(words, fmt.Sprintf("%s:%d", u.Name, len(u.Versions)))
	}
	if got := strings.Join(words, " "); got != want {
		c.t.Errorf("left are %s, want %s", got, want)
	}
}

func TestPrune(t *testing.T) {
	const month = 30 * 24 * time.Hour
	const all = "gone:2 new:2 old-1:2 old-2:2 old-3:2 sub/old-4:2"
	for name, tc := range map[string]struct {
		opts       store.PruneOptions
		want, left string
	}{
		"nothing is asked for":        {store.PruneOptions{}, "", all},
		"by age":                      {store.PruneOptions{OlderThan: month}, "-gone:2 -old-1:2 -old-2:2 -old-3:2", "new:2 sub/old-4:2"},
		"all beneath":                 {store.PruneOptions{OlderThan: month, Recursive: true}, "-gone:2 -old-1:2 -old-2:2 -old-3:2 -sub/old-4:2", "new:2"},
		"the last stay":               {store.PruneOptions{OlderThan: month, KeepLast: 3}, "-gone:2 -old-1:2", "new:2 old-2:2 old-3:2 sub/old-4:2"},
		"versions of those that stay": {store.PruneOptions{Versions: &store.Keep{Last: 1}}, "new:1 old-1:1 old-2:1 old-3:1", "gone:2 new:1 old-1:1 old-2:1 old-3:1 sub/old-4:2"},
		"a try":                       {store.PruneOptions{OlderThan: month, DryRun: true}, "-gone:2 -old-1:2 -old-2:2 -old-3:2", all},
		"some are spared": {store.PruneOptions{OlderThan: month, Spare: func(_ context.Context, u *store.Usage) (string, error) {
			if u.Name == "old-2" {
				return "somebody needs it", nil
			}
			return "", nil
		}}, "-gone:2 -old-1:2 -old-3:2", "new:2 old-2:2 sub/old-4:2"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClutter(t)
			if got := c.prune(&tc.opts); got != tc.want {
				t.Errorf("went %s, want %s", got, tc.want)
			}
			c.wantLeft(tc.left)
		})
	}
}

// A workspace that is committed to after it was judged stays, and one of which nobody can say
// whether it may go stays too, with an error.
func TestPruneIsConditional(t *testing.T) {
	c := newClutter(t)
	unknown := errors.New("nobody can say")
	pruned, err := store.Prune(t.Context(), c.dir, &store.PruneOptions{OlderThan: time.Hour, Spare: func(ctx context.Context, u *store.Usage) (string, error) {
		switch u.Name {
		case "old-1":
			s, err := store.OpenBucket(ctx, u.URL)
			noError(t, err)
			_, err = s.Put(ctx, u.URL.Key, pack(t, nil).write, &store.PutOptions{Replace: u.Revision})
			noError(t, err)
		case "old-2":
			return "", unknown
		}
		return "", nil
	}})
	wantError(t, err, unknown)
	for _, p := range pruned {
		if stays := p.Name == "old-1" || p.Name == "old-2" || p.Name == "new"; p.Removed == stays {
			t.Errorf("%s went: %v, %s", p.Name, p.Removed, p.Why)
		}
	}
	c.wantLeft("new:2 old-1:2 old-2:2 sub/old-4:2")
	_, err = store.Prune(t.Context(), c.dir+"/none", &store.PruneOptions{OlderThan: time.Hour})
	wantError(t, err, store.ErrNotExist)
}
