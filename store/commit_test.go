package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

// packed is an archive of an empty tree with the log of its commits.
type packed struct {
	id    archive.CommitID
	log   *archive.Log
	bytes []byte
}

// pack packs the archive of a new commit on top of another; on may be nil.
func pack(t *testing.T, on *packed) *packed {
	t.Helper()
	home, err := fs.NewArenaHome(1 << 20)
	noError(t, err)
	defer home.Close()
	tree, err := fs.New(home, nil)
	noError(t, err)
	defer tree.Close()
	p := &packed{id: archive.NewCommitID()}
	var parent *archive.Log
	if on != nil {
		parent = on.log
	}
	p.log = parent.Next(archive.Record{ID: p.id})
	var b bytes.Buffer
	_, err = archive.NewWriter(&b, nil).WriteTree(t.Context(), tree, p.log)
	noError(t, err)
	p.bytes = b.Bytes()
	return p
}

func (p *packed) write(w io.Writer) error {
	_, err := w.Write(p.bytes)
	return err
}

// commits is a workspace whose first archive is base, in a store that meets
// faults.
type commits struct {
	t      *testing.T
	real   store.Store
	faulty *storetest.Faulty
	base   *packed
	rev    store.Revision
	ours   *packed // on top of base
}

const key = "dir/key"

func newCommits(t *testing.T, faults ...storetest.Fault) *commits {
	t.Helper()
	s := openBucket(t, "mem://"+rand.Text())
	c := &commits{t: t, real: s, faulty: storetest.NewFaulty(s, faults...), base: pack(t, nil)}
	c.rev = c.put(c.base, "")
	c.ours = pack(t, c.base)
	return c
}

// put is somebody else's commit.
func (c *commits) put(p *packed, replace store.Revision) store.Revision {
	c.t.Helper()
	info, err := c.real.Put(c.t.Context(), key, p.write, &store.PutOptions{Replace: replace})
	noError(c.t, err)
	return info.Revision
}

// now is the revision that is there.
func (c *commits) now() store.Revision {
	c.t.Helper()
	info, err := c.real.Stat(c.t.Context(), key)
	noError(c.t, ignore(err, store.ErrNotExist))
	return info.Revision
}

func (c *commits) commit() (store.Info, error) {
	return store.Commit(c.t.Context(), c.faulty, key, &store.CommitRequest{Replace: c.rev, ID: c.ours.id, Parent: c.base.id, Plan: store.Written(c.ours.write)})
}

func (c *commits) remove() error {
	_, err := store.Commit(c.t.Context(), c.faulty, key, &store.CommitRequest{Replace: c.rev, Delete: true})
	return err
}

// holds checks that the archive that is there is p, or none where p is nil.
func (c *commits) holds(p *packed) {
	c.t.Helper()
	o, err := c.real.Open(c.t.Context(), key)
	if p == nil {
		wantError(c.t, err, store.ErrNotExist)
		return
	}
	noError(c.t, err)
	defer o.Close()
	got, err := io.ReadAll(o)
	noError(c.t, err)
	if !bytes.Equal(got, p.bytes) {
		c.t.Errorf("another archive is there")
	}
}

// bubble runs a test in which the pauses of Commit take no time.
func bubble(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

var (
	lostRequest = storetest.Fault(storetest.LoseRequest)
	lostAnswer  = storetest.Fault(storetest.LoseAnswer)
	noFault     = storetest.Fault(storetest.None)
)

func repeat(f storetest.Fault, n int) []storetest.Fault {
	faults := make([]storetest.Fault, n)
	for i := range faults {
		faults[i] = f
	}
	return faults
}

// Somebody else commits on top of ours before we know that ours is stored.
func TestCommitInPast(t *testing.T) {
	bubble(t, "in the past", func(t *testing.T) {
		var c *commits
		var next *packed
		c = newCommits(t, storetest.Then(lostAnswer, func() {
			next = pack(t, pack(t, c.ours))
			c.put(next, c.now())
		}))
		info, err := c.commit()
		noError(t, err)
		if info != (store.Info{Key: key}) {
			t.Errorf("Commit returns %+v of a revision that is gone, want the key alone", info)
		}
		c.holds(next)
	})
}

// Somebody else came first: nothing is stored, and that is certain.
func TestCommitConflict(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{"at once": noFault, "after a lost request": lostRequest} {
		bubble(t, name, func(t *testing.T) {
			var c *commits
			var other *packed
			come := func() { other = pack(t, c.base); c.put(other, c.now()) }
			c = newCommits(t, storetest.Then(func(send func() error) error {
				if name == "at once" {
					come()
				}
				return fault(send)
			}, func() {
				if name != "at once" {
					come()
				}
			}))
			_, err := c.commit()
			wantError(t, err, store.ErrConflict)
			if errors.Is(err, store.ErrUnknown) {
				t.Errorf("a certain conflict is called unknown: %v", err)
			}
			c.holds(other)
		})
	}
}

// A driver's own repetition turns a success into a conflict.
func TestCommitRepeatedBySDK(t *testing.T) {
	bubble(t, "repeated", func(t *testing.T) {
		c := newCommits(t, func(send func() error) error { _ = send(); return send() })
		info, err := c.commit()
		noError(t, err)
		if info.Revision != c.now() {
			t.Errorf("Commit returns %+v", info)
		}
		c.holds(c.ours)
	})
}

// A conflict is certain only once the log has been checked: ours may have been sent twice by
// somebody on the way.
func TestCommitConflictWithWhom(t *testing.T) {
	twice := func(send func() error) error { _ = send(); return send() }
	replaced := storetest.Fail(store.ErrConflict) // while the log was read
	for name, tc := range map[string]struct {
		other bool // somebody else came first
		reads []storetest.Fault
		want  error
	}{
		"ours, which nobody can read":  {false, []storetest.Fault{storetest.Fail(errBroken)}, store.ErrUnknown},
		"ours, read at last":           {false, []storetest.Fault{replaced, replaced}, nil},
		"other, which nobody can read": {true, []storetest.Fault{storetest.Fail(errBroken)}, store.ErrUnknown},
		"other, read at last":          {true, []storetest.Fault{replaced}, store.ErrConflict},
		"other, removed since":         {true, []storetest.Fault{storetest.Fail(store.ErrNotExist)}, store.ErrConflict},
		"no archive":                   {true, []storetest.Fault{storetest.Fail(store.ErrNotArchive)}, store.ErrConflict},
	} {
		bubble(t, name, func(t *testing.T) {
			c := newCommits(t, twice)
			if tc.other {
				c.put(pack(t, c.base), c.rev)
			}
			c.faulty.FailReads(tc.reads...)
			_, err := c.commit()
			if !errors.Is(err, tc.want) || tc.want == store.ErrConflict && errors.Is(err, store.ErrUnknown) {
				t.Errorf("the error is %v, want %v", err, tc.want)
			}
		})
	}
}

var errBroken = errors.New("the store is broken")

// If the outcome is unknown the answer is ErrUnknown and never "nothing stored".
func TestCommitUnknown(t *testing.T) {
	for name, tc := range map[string]struct {
		faults []storetest.Fault
		reads  []storetest.Fault
		do     func(c *commits)
	}{
		"no definite answer":   {faults: repeat(lostRequest, 8)},
		"then another failure": {faults: []storetest.Fault{lostRequest, storetest.Fail(errBroken)}},
		"nobody can look":      {faults: []storetest.Fault{lostAnswer}, reads: repeat(storetest.Fail(errBroken), 100)},
		"deleted afterwards": {faults: []storetest.Fault{lostAnswer}, do: func(c *commits) {
			noError(c.t, c.real.Delete(c.t.Context(), key, c.now(), nil))
		}},
		"replaced by a tool without a log": {faults: []storetest.Fault{lostAnswer}, do: func(c *commits) {
			c.put(&packed{bytes: []byte("foreign")}, c.now())
		}},
		"deleted afterwards, and begun anew": {faults: []storetest.Fault{lostAnswer}, do: func(c *commits) {
			noError(c.t, c.real.Delete(c.t.Context(), key, c.now(), nil))
			c.put(pack(c.t, nil), "")
		}},
	} {
		bubble(t, name, func(t *testing.T) {
			var c *commits
			if tc.do != nil {
				tc.faults[0] = storetest.Then(tc.faults[0], func() { tc.do(c) })
			}
			c = newCommits(t, tc.faults...)
			c.faulty.FailReads(tc.reads...)
			_, err := c.commit()
			wantError(t, err, store.ErrUnknown)
		})
	}
}

// The fence says no to the second try, while the first had arrived.
func TestCommitRefusedByBefore(t *testing.T) {
	for name, tc := range map[string]struct {
		fault storetest.Fault
		want  error
	}{
		"at once":              {noFault, errBroken},
		"after a lost request": {lostRequest, store.ErrUnknown},
		"after a lost answer":  {lostAnswer, nil},
	} {
		bubble(t, name, func(t *testing.T) {
			c := newCommits(t, tc.fault)
			asked := 0
			_, err := store.Commit(t.Context(), c.faulty, key, &store.CommitRequest{
				Replace: c.rev, ID: c.ours.id, Parent: c.base.id, Plan: store.Written(c.ours.write),
				Before: func(context.Context) error {
					if asked++; asked > 1 || name != "after a lost answer" {
						return errBroken
					}
					return nil
				},
			})
			if !errors.Is(err, tc.want) {
				t.Errorf("the error is %v, want %v", err, tc.want)
			}
			if tc.want == nil {
				c.holds(c.ours)
			} else {
				c.holds(c.base)
				wantError(t, err, errBroken)
			}
		})
	}
}

// A request that arrives late finds its condition broken, or is the commit.
func TestCommitLateRequest(t *testing.T) {
	bubble(t, "late", func(t *testing.T) {
		var late func() error
		c := newCommits(t, func(send func() error) error { late = send; return lostRequest(nil) })
		info, err := c.commit()
		noError(t, err)
		wantError(t, late(), store.ErrConflict)
		if info.Revision != c.now() {
			t.Errorf("Commit returns %+v", info)
		}
		c.holds(c.ours)
	})
}

func TestCommitCancelled(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{"nothing lost": noFault, "request lost": lostRequest} {
		bubble(t, name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			c := newCommits(t, func(send func() error) error { cancel(); return fault(send) })
			_, err := store.Commit(ctx, c.faulty, key, &store.CommitRequest{Replace: c.rev, ID: c.ours.id, Parent: c.base.id, Plan: store.Written(c.ours.write)})
			wantError(t, err, context.Canceled)
			if errors.Is(err, store.ErrUnknown) != (name == "request lost") {
				t.Errorf("the error is %v", err)
			}
			c.holds(c.base)
		})
	}
}

func TestCommitOfNew(t *testing.T) {
	bubble(t, "new", func(t *testing.T) {
		c := newCommits(t, lostAnswer)
		noError(t, c.real.Delete(t.Context(), key, c.rev, nil))
		c.rev = ""
		_, err := c.commit()
		noError(t, err)
		c.holds(c.ours)
	})
}

func TestCommitDelete(t *testing.T) {
	for name, tc := range map[string]struct {
		faults []storetest.Fault
		then   func(c *commits) // before the second request
		want   error
	}{
		"no fault":                   {},
		"request lost":               {faults: []storetest.Fault{lostRequest}},
		"answer lost":                {faults: []storetest.Fault{lostAnswer}},
		"requests lost, then answer": {faults: append(repeat(lostRequest, 3), lostAnswer)},
		"never an answer": {
			faults: repeat(lostRequest, 8), want: store.ErrUnknown,
		},
		"made again by somebody": {
			faults: []storetest.Fault{lostAnswer}, want: store.ErrUnknown,
			then: func(c *commits) { c.put(pack(c.t, nil), "") },
		},
	} {
		bubble(t, name, func(t *testing.T) {
			var c *commits
			if tc.then != nil {
				tc.faults[0] = storetest.Then(tc.faults[0], func() { tc.then(c) })
			}
			c = newCommits(t, tc.faults...)
			if err := c.remove(); !errors.Is(err, tc.want) {
				t.Errorf("the error is %v, want %v", err, tc.want)
			}
			if tc.want == nil {
				c.holds(nil)
			}
		})
	}
}

func TestCommitDeleteConflict(t *testing.T) {
	bubble(t, "replaced", func(t *testing.T) {
		c := newCommits(t)
		other := pack(t, c.base)
		c.put(other, c.rev)
		wantError(t, c.remove(), store.ErrConflict)
		c.holds(other)
	})
	bubble(t, "gone", func(t *testing.T) {
		c := newCommits(t)
		noError(t, c.real.Delete(t.Context(), key, c.rev, nil))
		wantError(t, c.remove(), store.ErrConflict)
	})
	bubble(t, "nothing was opened", func(t *testing.T) {
		c := newCommits(t)
		noError(t, c.real.Delete(t.Context(), key, c.rev, nil))
		c.rev = ""
		noError(t, c.remove())
	})
}

// A commit may keep ranges of what was opened. Where its answer was lost, the same plan
// is sent again, or found done.
func TestCommitOfRanges(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{
		"no fault": noFault, "lost request": lostRequest, "lost answer": lostAnswer,
	} {
		bubble(t, name, func(t *testing.T) {
			c := newCommits(t, fault)
			base, err := c.faulty.Open(t.Context(), key)
			noError(t, err)
			defer base.Close()
			same := int64(0)
			for c.base.bytes[same] == c.ours.bytes[same] {
				same++
			}
			info, err := store.Commit(t.Context(), c.faulty, key, &store.CommitRequest{
				Replace: c.rev, ID: c.ours.id, Parent: c.base.id, Base: base,
				Plan: []store.Piece{{Len: same}, {Write: func(w io.Writer) error {
					_, err := w.Write(c.ours.bytes[same:])
					return err
				}}},
			})
			noError(t, err)
			c.holds(c.ours)
			if info.Revision != c.now() {
				t.Errorf("Commit returns revision %q, the archive has %q", info.Revision, c.now())
			}
		})
	}
}
