package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// workspace is the workspace used by all clients.
var workspace = store.URL{Scheme: "mem", Bucket: "sim", Key: "workspace"}

// outcome is what a client knows at its end.
type outcome struct {
	client int
	id     archive.CommitID // of the attempted commit; "" for none
	empty  bool             // the commit was a removal
	err    error
	event  int // the scheduler's count when it was known
}

// attempt is one attempt at an activity, in its own process.
type attempt struct {
	client
	activity *activity
	number   int
	skew     time.Duration // of its host's clock
	works    time.Duration
	ranged   bool // it keeps ranges of the opened archive
}

// do makes the attempt, and reports to the server.
func (t *attempt) do(deadline time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	result, err := t.work(ctx)
	a := t.activity
	_, _ = ask(ctx, &t.client, "answer", func(*bucket, int) (struct{}, error) {
		if err == nil {
			return struct{}{}, a.complete(t.number, result)
		}
		if _, ok := a.current[t.number]; ok {
			a.fail(t.number)
			a.closed = a.closed || errors.Is(err, store.ErrUnknown) // not retried: a person has to check
		}
		return struct{}{}, nil
	})
}

// work opens, works and commits once.
func (t *attempt) work(ctx context.Context) ([]byte, error) {
	rules := t.world.rules
	step := &store.Step{Origin: t.activity.origin(t.number), Since: t.activity.scheduled}
	base, log, err := t.client.read(ctx)
	if err != nil {
		return nil, err
	}
	if rules.Break != BreakOnce {
		rec, err := step.Done(ctx, &t.client, workspace, log)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			return rec.Result, nil
		}
	}
	if err := pause(ctx, t.works); err != nil {
		return nil, err
	}
	rec := archive.Record{
		ID: archive.NewCommitID(), Time: time.Now().Add(t.skew).UTC(), Origin: step.Origin,
		Result: fmt.Appendf(nil, "%s by attempt %d", t.activity.name, t.number),
	}
	err = t.client.commit(ctx, base, log, rec, t.ranged, t.fence)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnknown) {
		won, _, err := step.Overtaken(ctx, &t.client, workspace, err)
		if won != nil {
			return won.Result, nil
		}
		return nil, err
	}
	return rec.Result, err
}

// fence asks the server whether this attempt is still a current one.
func (t *attempt) fence(ctx context.Context) error {
	_, err := ask(ctx, &t.client, "heartbeat", func(*bucket, int) (struct{}, error) {
		return struct{}{}, t.activity.heartbeat(t.number)
	})
	if errors.Is(err, store.ErrUnknown) { // concerns the server: nothing was sent to the store
		return fmt.Errorf("ask the server: %w", store.ErrUnreachable)
	}
	return err
}

// pause is work.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// command is a use of the workspace that is not a step.
type command struct {
	client
	empties bool
}

func (c *command) do() {
	ctx, cancel := context.WithTimeout(context.Background(), activityTimeout)
	defer cancel()
	base, log, err := c.client.read(ctx)
	if err != nil {
		return
	}
	if !c.empties {
		_ = c.client.commit(ctx, base, log, archive.Record{ID: archive.NewCommitID(), Time: time.Now().UTC()}, false, nil)
		return
	}
	if base == nil {
		return
	}
	_, err = store.Commit(ctx, &c.client, workspace.Key, &store.CommitRequest{Replace: base.Info().Revision, Delete: true})
	c.client.ended(outcome{empty: true, err: err})
}

// read opens the archive; nil without one.
func (c *client) read(ctx context.Context) (store.Object, *archive.Log, error) {
	o, err := store.OpenTail(ctx, c, workspace.Key, store.LogTail)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	log, err := archive.ReadLog(o, o.Info().Size)
	return o, log.StoredAt(o.Info().ModTime), err
}

// commit commits on top of the opened archive.
func (c *client) commit(ctx context.Context, base store.Object, log *archive.Log, rec archive.Record, ranged bool, fence func(context.Context) error) error {
	next := log.Next(rec)
	content := pack(next)
	req := &store.CommitRequest{ID: rec.ID, Parent: next.Record.Parent, Before: fence, Plan: store.Written(func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})}
	if base != nil {
		req.Replace = base.Info().Revision
		if ranged {
			req.Base, req.Plan = base, keepStart(base, content)
		}
	}
	_, err := store.Commit(ctx, c, workspace.Key, req)
	if c.world.rules.Break == BreakUnknown && errors.Is(err, store.ErrUnknown) {
		err = store.ErrConflict
	}
	c.ended(outcome{id: rec.ID, err: err})
	return err
}

// keepStart is the plan that takes the common beginning of content from base.
func keepStart(base store.Object, content []byte) []store.Piece {
	old := make([]byte, base.Info().Size)
	n, _ := base.ReadAt(old, 0)
	same := 0
	for same < min(n, len(content)) && old[same] == content[same] {
		same++
	}
	return []store.Piece{{Len: int64(same)}, {Write: func(w io.Writer) error {
		_, err := w.Write(content[same:])
		return err
	}}}
}

// ended records what a client knows at its end.
func (c *client) ended(o outcome) {
	o.client = c.name
	c.world.mu.Lock()
	defer c.world.mu.Unlock()
	c.world.done = append(c.world.done, o)
}

// empty is a tree without names, the content of all archives here: only their logs matter.
var empty = func() *fs.Tree {
	home, err := fs.NewArenaHome(1 << 20)
	if err == nil {
		var t *fs.Tree
		if t, err = fs.New(home, nil); err == nil {
			return t
		}
	}
	panic(err)
}()

// pack returns an archive with a log, or, if that is nil, without one, like another program's.
func pack(log *archive.Log) []byte {
	var b bytes.Buffer
	if _, err := archive.NewWriter(&b, nil).WriteTree(context.Background(), empty, log); err != nil {
		panic(err)
	}
	return b.Bytes()
}
