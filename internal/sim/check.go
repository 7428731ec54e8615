package sim

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// check compares the events with the contract of a commit. It returns the first broken rule.
func (w *world) check() error {
	for _, rule := range []func() error{w.whole, w.chained, w.acknowledged, w.refused, w.once, w.results, w.completed} {
		if err := rule(); err != nil {
			return err
		}
	}
	return nil
}

// whole: every archive that ever existed can be read.
func (w *world) whole() error {
	for _, o := range w.bucket.history {
		if o.bad != nil {
			return fmt.Errorf("the archive of revision %s cannot be read: %w", o.info.Revision, o.bad)
		}
	}
	return nil
}

// chained: a commit's parent is the commit that it replaced, so that no commit is lost.
func (w *world) chained() error {
	var before *archive.Log
	for _, o := range w.bucket.history {
		if o.log != nil && before != nil && !o.log.Has(before.Record.ID) && o.log.Len() <= archive.MaxLog {
			return fmt.Errorf("revision %s has replaced commit %s and does not know it", o.info.Revision, before.Record.ID)
		}
		before = o.log
	}
	return nil
}

// stored returns the objects with a commit as their last one.
func (w *world) stored(id archive.CommitID) []object {
	var found []object
	for _, o := range w.bucket.history {
		if o.log != nil && o.log.Record.ID == id {
			found = append(found, o)
		}
	}
	return found
}

// acknowledged: a commit that has returned nil was stored by then, exactly once. A first
// commit that was removed, with its log, can reappear: a try of it may still have been in
// flight, and its condition holds once more.
func (w *world) acknowledged() error {
	for _, o := range w.done {
		if o.err != nil || o.id == "" {
			continue
		}
		found := w.stored(o.id)
		if len(found) == 0 || found[0].event > o.event || len(found) > 1 && !w.rules.deletes {
			return fmt.Errorf("client %d was told that commit %s is stored, which was there %d times by then", o.client, o.id, len(found))
		}
	}
	return nil
}

// refused: a commit whose error is not ErrUnknown has stored nothing, and never will.
func (w *world) refused() error {
	for _, o := range w.done {
		if o.err == nil || errors.Is(o.err, store.ErrUnknown) || o.id == "" {
			continue
		}
		if found := w.stored(o.id); len(found) > 0 {
			return fmt.Errorf("client %d was told that commit %s is not stored (%v), and it is revision %s", o.client, o.id, o.err, found[0].info.Revision) //nolint:errorlint // shown, not matched
		}
	}
	return nil
}

// once: a step has one commit. After another program's archive or a removal the log begins
// anew, as documented.
func (w *world) once() error {
	seen := map[archive.StepID]archive.CommitID{}
	for _, o := range w.bucket.history {
		if o.log == nil {
			clear(seen)
			continue
		}
		id, ok := o.log.Record.Origin.StepID()
		if !ok {
			continue
		}
		if other, twice := seen[id]; twice {
			return fmt.Errorf("%s has two commits, %s and %s", o.log.Record.Origin.Execution, other, o.log.Record.ID)
		}
		seen[id] = o.log.Record.ID
	}
	return nil
}

// results: an activity's result is that of one of its own commits, of any attempt.
func (w *world) results() error {
	for _, a := range w.server.activities {
		if a.result == nil {
			continue
		}
		if !slices.ContainsFunc(w.bucket.history, func(o object) bool {
			return o.log != nil && o.log.Record.Origin.Execution == a.name && bytes.Equal(o.log.Record.Result, a.result)
		}) {
			return fmt.Errorf("%s has the result %q, which no commit of it has", a.name, a.result)
		}
	}
	return nil
}

// completed: without faults every activity gets its result.
func (w *world) completed() error {
	if w.rules.Faults != 0 || w.rules.bursts || w.rules.foreign || w.rules.deletes {
		return nil
	}
	for _, a := range w.server.activities {
		if a.result == nil {
			return fmt.Errorf("%s has no result after %d attempts", a.name, a.attempts)
		}
	}
	return nil
}
