package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing/synctest"
	"time"

	"github.com/workdir/workdir/store"
)

// world is one running schedule. The scheduler owns its fields except pending.
type world struct {
	choices *choices
	bucket  bucket
	server  server
	events  int
	late    []*request // abandoned by their clients, but may still arrive
	trace   []string
	rules   *Rules

	mu      sync.Mutex
	pending []*request // guarded by mu
	done    []outcome  // guarded by mu
	running sync.WaitGroup
	live    int // running clients; guarded by mu
}

// request is one request of a client. Its answer is taken once.
type request struct {
	client int
	order  int // among the requests of its client
	what   string
	do     func(event int) error // has the effect, in the scheduler, and records the answer
	answer chan error
	write  bool
}

// errKilled is the answer that ends a client.
var errKilled = errors.New("the client was killed")

// ask sends a request to the bucket and waits for its answer.
func ask[T any](ctx context.Context, c *client, what string, do func(*bucket, int) (T, error)) (T, error) {
	var got T
	var err error
	lost := c.world.send(ctx, c, what, func(event int) error {
		got, err = do(&c.world.bucket, event)
		return err
	})
	if lost != nil {
		var none T
		return none, lost
	}
	return got, err
}

// send sends a request. The error is the network's; nil means that do has recorded the answer.
func (w *world) send(ctx context.Context, c *client, what string, do func(event int) error) error {
	r := &request{client: c.name, what: what, do: do, answer: make(chan error, 1), write: what == "put" || what == "delete"}
	w.mu.Lock()
	for _, p := range w.pending {
		if p.client == r.client {
			r.order = max(r.order, p.order+1)
		}
	}
	w.pending = append(w.pending, r)
	w.mu.Unlock()
	select {
	case err := <-r.answer:
		if errors.Is(err, errKilled) {
			runtime.Goexit()
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", store.ErrUnknown, context.Cause(ctx))
	}
}

// start runs a client.
func (w *world) start(run func()) {
	w.mu.Lock()
	w.live++
	w.mu.Unlock()
	w.running.Go(func() {
		defer func() {
			w.mu.Lock()
			w.live--
			w.mu.Unlock()
		}()
		run()
	})
}

// maxEvents ends a schedule that does not end by itself.
const maxEvents = 5000

// run is the scheduler: it lets one event happen after another until no client is left.
func (w *world) run() error {
	for ; w.events < maxEvents; w.events++ {
		synctest.Wait() // until every client waits for an answer, or for time
		w.mu.Lock()
		queue, live := slices.Clone(w.pending), w.live
		for i := range w.done {
			w.done[i].event = cmp.Or(w.done[i].event, w.events+1)
		}
		w.mu.Unlock()
		slices.SortFunc(queue, func(a, b *request) int {
			return cmp.Or(a.client-b.client, a.order-b.order)
		})
		switch {
		case w.server.act(w):
		case len(queue) > 0:
			w.deliver(queue[w.choices.next(len(queue))])
		case live == 0 && len(w.late) == 0 && w.server.over():
			w.running.Wait()
			return nil
		case len(w.late) > 0 && (live == 0 || w.choices.next(4) == 0):
			w.arriveLate()
		default:
			time.Sleep(time.Duration(1+w.choices.next(8)) * 500 * time.Millisecond)
		}
	}
	return errEndless
}

var errEndless = errors.New("the schedule does not end")

// Fates of a request. The first means no fault.
const (
	fateArrives = iota
	fateRequestLost
	fateAnswerLost
	fateTwice  // and the second answer arrives
	fateLate   // it is abandoned, and arrives afterwards
	fateFails  // with a definite answer: nothing was done
	fateDies   // the client is killed before
	fateDiesIn // the client is killed after
	fates      = iota - 1
)

// deliver lets a request meet its fate.
func (w *world) deliver(r *request) {
	w.mu.Lock()
	w.pending = slices.DeleteFunc(w.pending, func(p *request) bool { return p == r })
	w.mu.Unlock()
	fate := 0
	if w.rules.Faults > 0 {
		fate = w.choices.of(w.rules.Faults, fates)
	}
	var err error
	switch fate {
	case fateRequestLost:
		err = fmt.Errorf("%w: the request was lost", store.ErrUnknown)
	case fateAnswerLost:
		w.arrive(r)
		err = fmt.Errorf("%w: the answer was lost", store.ErrUnknown)
	case fateTwice:
		w.arrive(r)
		if !w.rules.deletes && !w.rules.foreign { // else a new log cannot show whose conflict the second answer is
			w.arrive(r)
		}
	case fateLate:
		w.late = append(w.late, r)
		err = fmt.Errorf("%w: no answer in time", store.ErrUnknown)
	case fateFails:
		err = store.ErrUnreachable
	case fateDies:
		err = errKilled
	case fateDiesIn:
		w.arrive(r)
		err = errKilled
	default:
		w.arrive(r)
	}
	w.note("client %d: %s%s", r.client, r.what, fateNames[fate])
	r.answer <- err
}

var fateNames = [fates + 1]string{
	"", ", request lost", ", answer lost", ", twice", ", given up and under way", ", refused", ", killed before", ", killed after",
}

// arrive lets a request have its effect.
func (w *world) arrive(r *request) {
	w.events++
	_ = r.do(w.events)
}

// arriveLate lets one of the abandoned requests arrive. Its answer is dropped.
func (w *world) arriveLate() {
	i := w.choices.next(len(w.late))
	r := w.late[i]
	w.late = slices.Delete(w.late, i, i+1)
	w.arrive(r)
	w.note("client %d: %s arrives late", r.client, r.what)
}

// note adds to the trace. Only the scheduler reads the bucket's state.
func (w *world) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%4d %8s ", w.events, time.Since(w.server.began).Round(time.Millisecond))+fmt.Sprintf(format, args...)+" -> "+string(w.bucket.now.info.Revision))
}
