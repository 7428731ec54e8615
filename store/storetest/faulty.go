package storetest

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/workdir/workdir/store"
)

// A Fault determines the fate of one request: send sends it to the real store, and the caller
// gets the Fault's result. send may be called later, for a request that arrives late, or
// never.
type Fault func(send func() error) error

// None lets a request through.
func None(send func() error) error { return send() }

// LoseRequest loses a request: nothing happens, and the outcome is unknown.
func LoseRequest(func() error) error { return fmt.Errorf("%w: request lost", store.ErrUnknown) }

// LoseAnswer lets a request have its effect and loses the answer.
func LoseAnswer(send func() error) error {
	err := send()
	return fmt.Errorf("%w: answer lost (it was: %v)", store.ErrUnknown, err) //nolint:errorlint // shown, not matched
}

// Fail returns err for a request that does not arrive.
func Fail(err error) Fault {
	return func(func() error) error { return err }
}

// Then calls fn after fault, for another client's action before the next request.
func Then(fault Fault, fn func()) Fault {
	return func(send func() error) error {
		defer fn()
		return fault(send)
	}
}

// Faulty is a store whose requests meet faults. Requests beyond the last fault pass.
type Faulty struct {
	store.Store
	mu     sync.Mutex
	writes []Fault // of Put and Delete; guarded by mu
	reads  []Fault // of Open, OpenTail and Stat; guarded by mu
	sent   int     // Puts and Deletes so far; guarded by mu
}

// NewFaulty returns s with faults for its next Puts and Deletes, one each.
func NewFaulty(s store.Store, writes ...Fault) *Faulty {
	return &Faulty{Store: s, writes: writes}
}

// FailReads adds faults for the next Opens, OpenTails and Stats, one each.
func (f *Faulty) FailReads(reads ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, reads...)
}

// Sent is how often Put and Delete were called.
func (f *Faulty) Sent() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent
}

// next takes the first fault of a list.
func (f *Faulty) next(list *[]Fault, sent int) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent += sent
	if len(*list) == 0 {
		return None
	}
	fault := (*list)[0]
	*list = (*list)[1:]
	return fault
}

// Put implements store.Store.
func (f *Faulty) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (info store.Info, err error) {
	err = f.next(&f.writes, 1)(func() (err error) {
		info, err = f.Store.Put(ctx, key, write, opts)
		return err
	})
	if err != nil {
		return store.Info{}, err
	}
	return info, nil
}

// Delete implements store.Store.
func (f *Faulty) Delete(ctx context.Context, key string, rev store.Revision, before func(context.Context) error) error {
	return f.next(&f.writes, 1)(func() error { return f.Store.Delete(ctx, key, rev, before) })
}

// Open implements store.Store.
func (f *Faulty) Open(ctx context.Context, key string) (store.Object, error) {
	return f.open(func() (store.Object, error) { return f.Store.Open(ctx, key) })
}

// OpenTail implements store.TailOpener.
func (f *Faulty) OpenTail(ctx context.Context, key string, n int64) (store.Object, error) {
	return f.open(func() (store.Object, error) { return store.OpenTail(ctx, f.Store, key, n) })
}

func (f *Faulty) open(open func() (store.Object, error)) (o store.Object, err error) {
	err = f.next(&f.reads, 0)(func() (err error) {
		o, err = open()
		return err
	})
	if err != nil && o != nil {
		_ = o.Close()
	}
	return o, err
}

// Sync implements store.Syncer.
func (f *Faulty) Sync(ctx context.Context, key string) error { return store.Sync(ctx, f.Store, key) }

// Stat implements store.Store.
func (f *Faulty) Stat(ctx context.Context, key string) (info store.Info, err error) {
	err = f.next(&f.reads, 0)(func() (err error) {
		info, err = f.Store.Stat(ctx, key)
		return err
	})
	return info, err
}
