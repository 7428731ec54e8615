package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

// kept is a workspace whose commits keep what they replace.
type kept struct {
	t    *testing.T
	url  store.URL
	s    store.Store // that commits go through
	keep store.Keep
	made []*packed // all commits, oldest first
	rev  store.Revision
}

func newKept(t *testing.T, url string, keep store.Keep) *kept {
	t.Helper()
	u, err := store.ParseURL(url)
	noError(t, err)
	s, err := store.OpenBucket(t.Context(), u)
	noError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return &kept{t: t, url: u, s: s, keep: keep}
}

// next is the next commit.
func (k *kept) next() (*packed, *store.CommitRequest) {
	k.t.Helper()
	var on *packed
	if n := len(k.made); n > 0 {
		on = k.made[n-1]
	}
	p := pack(k.t, on)
	return p, &store.CommitRequest{Replace: k.rev, ID: p.id, Parent: p.log.Record.Parent, Plan: store.Written(p.write), Keep: k.keep, Log: p.log}
}

func (k *kept) commit() {
	k.t.Helper()
	p, req := k.next()
	info, err := store.Commit(k.t.Context(), k.s, k.url.Key, req)
	noError(k.t, err)
	k.made, k.rev = append(k.made, p), info.Revision
}

// versions are the positions of the versions among the commits, newest first.
func (k *kept) versions() (found []int) {
	k.t.Helper()
	versions, err := k.url.Versions(k.t.Context(), k.s)
	noError(k.t, err)
	for _, v := range versions {
		found = append(found, slices.IndexFunc(k.made, func(p *packed) bool { return p.id == v.ID }))
	}
	slices.SortFunc(found, func(a, b int) int { return b - a })
	return found
}

func (k *kept) wantVersions(want ...int) {
	k.t.Helper()
	if got := k.versions(); !slices.Equal(got, want) {
		k.t.Fatalf("the versions are commits %v, want %v", got, want)
	}
}

// opens checks that a URL leads to the archive of a commit.
func (k *kept) opens(commit string, want *packed) {
	k.t.Helper()
	u, err := k.url.At(commit)
	noError(k.t, err)
	parsed, err := store.ParseURL(u.String())
	noError(k.t, err)
	o, err := parsed.OpenArchive(k.t.Context(), k.s, 0)
	noError(k.t, err)
	defer o.Close()
	got := make([]byte, o.Info().Size)
	_, err = o.ReadAt(got, 0)
	if err != nil && len(got) != len(want.bytes) || string(got) != string(want.bytes) {
		k.t.Fatalf("%s is another archive: %v", parsed, err)
	}
}

func (k *kept) fails(commit string, want error) {
	k.t.Helper()
	u, err := k.url.At(commit)
	noError(k.t, err)
	o, err := u.OpenArchive(k.t.Context(), k.s, 0)
	if err == nil {
		_ = o.Close()
	}
	wantError(k.t, err, want)
}

// short is the shortest beginning of an id that a URL can have.
func short(id archive.CommitID) string {
	n := 8
	for strings.Trim(string(id[:n]), "0123456789") == "" {
		n++
	}
	return string(id[:n])
}

// What commits replace is kept, and read by its commit's id; no list shows it as a workspace.
func TestKeep(t *testing.T) {
	for name, url := range map[string]string{"file": t.TempDir() + "/dir/key", "mem": "mem://" + rand.Text() + "/dir/key"} {
		t.Run(name, func(t *testing.T) {
			k := newKept(t, url, store.Keep{Last: 3})
			for range 4 {
				k.commit()
			}
			k.wantVersions(2, 1, 0)
			for _, p := range k.made {
				k.opens(string(p.id), p)
				k.opens(short(p.id), p)
			}
			k.fails(string(archive.NewCommitID()), store.ErrNoVersion)
			for _, list := range []func(context.Context, string) ([]store.Workspace, error){store.List, store.ListAll} {
				found, err := list(t.Context(), strings.TrimSuffix(k.url.String(), "/key"))
				noError(t, err)
				if len(found) != 1 || found[0].Name != "key" {
					t.Errorf("the workspaces are %+v", found)
				}
			}
			for range 20 {
				k.commit()
			}
			if n := len(k.versions()); n < 3 || n > 3+10 {
				t.Errorf("%d versions are kept, want 3 and at most 10 that wait for their removal", n)
			}
			k.fails(string(k.made[0].id), store.ErrNoVersion)
		})
	}
}

// A commit that removes the archive keeps it too.
func TestKeepOfRemoved(t *testing.T) {
	k := newKept(t, "mem://"+rand.Text()+"/key", store.Keep{For: time.Hour})
	k.commit()
	_, req := k.next()
	req.Delete = true
	_, err := store.Commit(t.Context(), k.s, k.url.Key, req)
	noError(t, err)
	k.opens(string(k.made[0].id), k.made[0])
	k.fails("0123456789abcdef", store.ErrNoVersion)
}

// A commit that fails when all is ready leaves a version of the archive that is there, which
// is not counted and not removed.
func TestKeepOfFailedCommit(t *testing.T) {
	k := newKept(t, "mem://"+rand.Text()+"/key", store.Keep{Last: 1})
	k.commit()
	_, req := k.next()
	wanted := errors.New("not now")
	req.Before = func(context.Context) error { return wanted }
	_, err := store.Commit(t.Context(), k.s, k.url.Key, req)
	wantError(t, err, wanted)
	k.wantVersions(0)
	k.opens(string(k.made[0].id), k.made[0])
	pruned, err := store.Prune(t.Context(), strings.TrimSuffix(k.url.String(), "/key"), &store.PruneOptions{Versions: &store.Keep{}})
	noError(t, err)
	if len(pruned) != 1 || len(pruned[0].Dropped) != 0 {
		t.Errorf("the archive itself is pruned: %+v", pruned)
	}
	k.commit()
	k.wantVersions(0)
	k.opens(string(k.made[0].id), k.made[0])
}

// A conflict that is found by the keeping is a conflict, and a lost answer is resolved as
// without it. The store can do nothing but what every store can.
func TestKeepConflicts(t *testing.T) {
	k := newKept(t, "mem://"+rand.Text()+"/key", store.Keep{Last: 9})
	k.commit()
	_, late := k.next()
	k.commit()
	k.s = storetest.NewFaulty(k.s)
	_, err := store.Commit(t.Context(), k.s, k.url.Key, late)
	wantError(t, err, store.ErrConflict)
	k.wantVersions(0)
	k.s = storetest.NewFaulty(k.s, lostAnswer, lostRequest, noFault, lostAnswer)
	k.commit()
	k.wantVersions(1, 0)
	k.opens(string(k.made[1].id), k.made[1])
}

// Where a file can have no second name it is copied, for the same users.
func TestKeepWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	k := newKept(t, dir+"/key", store.Keep{Last: 9})
	k.commit()
	noError(t, os.Chmod(dir+"/key.tar.gz", 0o600))
	defer store.ForbidLinks()()
	k.commit()
	k.opens(string(k.made[0].id), k.made[0])
	fi, err := os.Stat(filepath.Join(dir, ".workdir-versions", "key", string(k.made[0].id)+".tar.gz"))
	noError(t, err)
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("the version has mode %v", fi.Mode())
	}
}

// A tool that writes an archive in place writes the version too that a commit which failed
// has left: it is not taken for what it was.
func TestKeepOverwrittenInPlace(t *testing.T) {
	dir := t.TempDir()
	k := newKept(t, dir+"/key", store.Keep{Last: 9})
	k.commit()
	_, req := k.next()
	req.Before = func(context.Context) error { return errors.New("not now") }
	_, err := store.Commit(t.Context(), k.s, k.url.Key, req)
	if err == nil {
		t.Fatal("the commit was stored")
	}
	noError(t, os.WriteFile(dir+"/key.tar.gz", pack(t, nil).bytes, 0o644))
	k.fails(string(k.made[0].id), store.ErrNoVersion)
	k.rev = ""
	if err := os.Remove(dir + "/key.tar.gz"); err != nil {
		t.Fatal(err)
	}
	k.fails(string(k.made[0].id), store.ErrNoVersion)
}

// An archive of another program has no commit; it is kept under an id of its own.
func TestKeepOfForeignArchive(t *testing.T) {
	k := newKept(t, "mem://"+rand.Text()+"/key", store.Keep{Last: 9})
	foreign := &packed{bytes: packedWithoutLog(t)}
	info, err := k.s.Put(t.Context(), k.url.Key, foreign.write, nil)
	noError(t, err)
	k.rev = info.Revision
	k.commit()
	versions, err := k.url.Versions(t.Context(), k.s)
	noError(t, err)
	if len(versions) != 1 {
		t.Fatalf("the versions are %+v", versions)
	}
	k.opens(string(versions[0].ID), foreign)
}

func packedWithoutLog(t *testing.T) []byte {
	t.Helper()
	home, err := fs.NewArenaHome(1 << 20)
	noError(t, err)
	defer home.Close()
	tree, err := fs.New(home, nil)
	noError(t, err)
	defer tree.Close()
	var b strings.Builder
	_, err = archive.NewWriter(&b, nil).WriteTree(t.Context(), tree, nil)
	noError(t, err)
	return []byte(b.String())
}

// A version is what nothing is written to.
func TestVersionIsNotWritten(t *testing.T) {
	k := newKept(t, "mem://"+rand.Text()+"/key", store.Keep{Last: 9})
	k.commit()
	k.commit()
	at, err := k.url.At(string(k.made[0].id))
	noError(t, err)
	_, err = store.Delete(t.Context(), at.String())
	wantError(t, err, store.ErrURL)
	_, err = store.Copy(t.Context(), k.url.String(), at.String(), nil)
	wantError(t, err, store.ErrURL)
	_, err = store.Move(t.Context(), at.String(), k.url.String()+"-2", nil)
	wantError(t, err, store.ErrURL)

	fork := k.url
	fork.Key += "-fork"
	_, err = store.Copy(t.Context(), at.String(), fork.String(), nil)
	noError(t, err)
	o, err := fork.OpenArchive(t.Context(), k.s, 0)
	noError(t, err)
	defer o.Close()
	if log, err := archive.ReadLog(o, o.Info().Size); err != nil || log.Record.ID != k.made[0].id {
		t.Errorf("the fork has the log %+v, %v", log, err)
	}
	info, err := store.Stat(t.Context(), at.String())
	noError(t, err)
	if info.Size != int64(len(k.made[0].bytes)) {
		t.Errorf("Stat returns %+v", info)
	}
}

func TestExpired(t *testing.T) {
	now := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	var log *archive.Log
	var versions []store.Version
	for day := 9; day >= 0; day-- { // a commit each day, the last one today
		log = log.Next(archive.Record{ID: archive.NewCommitID(), Time: now.Add(-time.Duration(day) * 24 * time.Hour)})
		versions = slices.Insert(versions, 0, store.Version{ID: log.Record.ID, Info: store.Info{ModTime: now}})
	}
	for name, tc := range map[string]struct {
		keep store.Keep
		want int // how many of the ten stay, the archive itself among them
	}{
		"nothing":                       {store.Keep{}, 1},
		"the last":                      {store.Keep{Last: 3}, 4},
		"by the time of replacement":    {store.Keep{For: 3*24*time.Hour + 1}, 5}, // commits of 1, 2, 3 and 4 days ago
		"either":                        {store.Keep{Last: 7, For: time.Hour}, 8},
		"more than there are":           {store.Keep{Last: 100}, 10},
		"longer than the log goes back": {store.Keep{For: 1000 * time.Hour}, 10},
	} {
		if got := len(versions) - len(tc.keep.Expired(versions, log, now)); got != tc.want {
			t.Errorf("%s: %d stay, want %d", name, got, tc.want)
		}
	}
	unknown := []store.Version{{ID: archive.NewCommitID(), Info: store.Info{ModTime: now.Add(-48 * time.Hour)}}}
	if got := (store.Keep{For: 72 * time.Hour}).Expired(unknown, log, now); got != nil {
		t.Errorf("a version that the log has forgotten goes by its own time: %v", got)
	}
	if got := (store.Keep{For: 24 * time.Hour}).Expired(unknown, nil, now); len(got) != 1 {
		t.Errorf("a version of a workspace that is gone goes by its own time: %v", got)
	}
}
