package store_test

import (
	"context"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

// A commit whose request or answer is lost is done once, and says so.
func TestCommitLostAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		faults []storetest.Fault
		sent   int
	}{
		"no fault":                   {nil, 1},
		"request lost":               {[]storetest.Fault{lostRequest}, 2},
		"answer lost":                {[]storetest.Fault{lostAnswer}, 1},
		"all but the last lost":      {repeat(lostRequest, 7), 8},
		"requests lost, then answer": {append(repeat(lostRequest, 3), lostAnswer), 4},
	} {
		bubble(t, name, func(t *testing.T) {
			c := newCommits(t, tc.faults...)
			info, err := c.commit()
			noError(t, err)
			if info.Revision != c.now() || info.Key != key || info.Size != int64(len(c.ours.bytes)) {
				t.Errorf("Commit returns %+v, there is %q", info, c.now())
			}
			if c.faulty.Sent() != tc.sent {
				t.Errorf("%d requests were sent, want %d", c.faulty.Sent(), tc.sent)
			}
			c.holds(c.ours)
		})
	}
}

// One lost answer to the last request of a commit once packed and sent the whole
// archive again, though the current archive's log would have shown the commit.
func TestCommitLooksBeforeItSendsAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		fault storetest.Fault
		reads []storetest.Fault
		want  []string
	}{
		"answer lost":               {lostAnswer, nil, []string{"put", "tail"}},
		"request lost":              {lostRequest, nil, []string{"put", "tail", "put"}},
		"nobody can look at first":  {lostRequest, repeat(storetest.Fail(errBroken), 3), []string{"put", "tail", "tail", "tail", "tail", "put"}},
		"looked at before it ended": {lateBy(time.Minute, 30*time.Second), nil, []string{"put", "tail", "tail", "tail", "tail", "tail", "tail", "tail", "tail", "tail", "tail"}},
	} {
		bubble(t, name, func(t *testing.T) {
			c := newCommits(t, tc.fault)
			c.faulty.FailReads(tc.reads...)
			var asked []string
			_, err := store.Commit(t.Context(), watched{c.faulty, &asked}, key, &store.CommitRequest{
				Replace: c.rev, ID: c.ours.id, Parent: c.base.id, Plan: store.Written(c.ours.write),
			})
			noError(t, err)
			c.holds(c.ours)
			if !slices.Equal(asked, tc.want) {
				t.Errorf("the store was asked for %q, want %q", asked, tc.want)
			}
		})
	}
}

// A store that showed for a while that nothing was stored yet, and then could not be
// looked at any more, was once looked at for ever.
func TestCommitGivesUpAStoreThatCannotBeLookedAt(t *testing.T) {
	bubble(t, "lost after some looks", func(t *testing.T) {
		lostLate := func(func() error) error {
			time.Sleep(time.Minute)
			return storetest.LoseRequest(nil)
		}
		c := newCommits(t, lostLate)
		c.faulty.FailReads(append(repeat(noFault, 9), repeat(storetest.Fail(errBroken), 100)...)...)
		_, err := c.commit()
		wantError(t, err, store.ErrUnknown)
		c.holds(c.base)
		if c.faulty.Sent() != 1 {
			t.Errorf("%d requests were sent, want 1", c.faulty.Sent())
		}
	})
}

// lateBy is a fault of a gateway: the answer is given up after a time, and the request
// is done some time later.
func lateBy(patience, later time.Duration) storetest.Fault {
	return func(send func() error) error {
		time.Sleep(patience)
		time.AfterFunc(later, func() { _ = send() })
		return storetest.LoseRequest(nil)
	}
}

// watched notes what it is asked.
type watched struct {
	*storetest.Faulty
	asked *[]string
}

func (w watched) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	*w.asked = append(*w.asked, "put")
	return w.Faulty.Put(ctx, key, write, opts)
}

func (w watched) Open(ctx context.Context, key string) (store.Object, error) {
	*w.asked = append(*w.asked, "open")
	return w.Faulty.Open(ctx, key)
}

func (w watched) OpenTail(ctx context.Context, key string, n int64) (store.Object, error) {
	*w.asked = append(*w.asked, "tail")
	return w.Faulty.OpenTail(ctx, key, n)
}

func (w watched) Stat(ctx context.Context, key string) (store.Info, error) {
	*w.asked = append(*w.asked, "stat")
	return w.Faulty.Stat(ctx, key)
}

// persistent is a driver that sends its last request again after a lost answer, as
// those of the clouds do.
type persistent struct {
	store.Store
	lose storetest.Fault
	sent int
}

func (p *persistent) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (info store.Info, err error) {
	p.sent++
	lost := p.lose(func() error { _, err := p.Store.Put(ctx, key, write, opts); return err })
	if err := opts.Lost(ctx, lost); err != nil {
		return store.Info{}, err
	}
	p.sent++
	return p.Store.Put(ctx, key, write, opts)
}

// A driver has the store checked before it repeats its last request.
func TestCommitLooksForTheDriver(t *testing.T) {
	for name, tc := range map[string]struct {
		fault storetest.Fault
		sent  int
	}{
		"answer lost":  {lostAnswer, 1},
		"request lost": {lostRequest, 2},
	} {
		bubble(t, name, func(t *testing.T) {
			c := newCommits(t)
			p := &persistent{Store: c.real, lose: tc.fault}
			info, err := store.Commit(t.Context(), p, key, &store.CommitRequest{Replace: c.rev, ID: c.ours.id, Parent: c.base.id, Plan: store.Written(c.ours.write)})
			noError(t, err)
			if info.Revision != c.now() || p.sent != tc.sent {
				t.Errorf("%d requests were sent, want %d; Commit returns %+v", p.sent, tc.sent, info)
			}
			c.holds(c.ours)
		})
	}
}
