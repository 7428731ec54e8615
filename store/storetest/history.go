package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/workdir/workdir/store"
)

// HistoryOptions describe a history. Nil stands for the zero value.
type HistoryOptions struct {
	Clients    int  // concurrent ones; 0 stands for 6
	Operations int  // of each of them; 0 stands for 60
	Keys       int  // that they work on; 0 stands for 3
	NoDeletes  bool // omits deletes
	MayFail    bool // operations may fail, or their answers be lost
	// Archives are what the clients store; nil is any bytes, by Store.Put.
	Archives Archives
}

// Archives are the archives of a history. Each has an id, from 1 on, and a unique size.
type Archives interface {
	// Put replaces the archive of another id, of revision replace, by that of an id; 0 and ""
	// stand for none. Its error is that of Store.Put.
	Put(ctx context.Context, s store.Store, key string, id, other int64, replace store.Revision) (store.Info, error)
	// ID returns the id of the archive that has a size, in bytes.
	ID(size int64) int64
}

// plain are archives whose sizes in bytes are their ids.
type plain struct{}

func (plain) Put(ctx context.Context, s store.Store, key string, id, _ int64, replace store.Revision) (store.Info, error) {
	return s.Put(ctx, key, writes(bytes.Repeat([]byte{'='}, int(id))), &store.PutOptions{Replace: replace})
}

func (plain) ID(size int64) int64 { return size }

// CheckHistory lets several clients work on a few keys of one store at random, each through
// its own Store or all through the same one, and checks that the history is linearizable: that
// one order of all operations and results exists that agrees with time. The keys must have no
// archives.
//
// An operation that ended with ErrUnknown counts as done at any later time, or never; any
// other failed one as not done.
func CheckHistory(t *testing.T, stores []store.Store, opts *HistoryOptions) {
	t.Helper()
	var o HistoryOptions
	if opts != nil {
		o = *opts
	}
	for field, otherwise := range map[*int]int{&o.Clients: 6, &o.Operations: 60, &o.Keys: 3} {
		if *field == 0 {
			*field = otherwise
		}
	}
	if o.Archives == nil {
		o.Archives = plain{}
	}
	h := &history{HistoryOptions: o, t: t, seed: rand.Uint64()}
	var clients sync.WaitGroup
	for i := range o.Clients {
		c := newClient(h, i, stores[i%len(stores)])
		clients.Go(c.work)
	}
	clients.Wait()
	h.check()
}

func testHistory(f *fixture) {
	CheckHistory(f.T, []store.Store{f.store}, &HistoryOptions{NoDeletes: true})
}

func testHistoryWithDeletes(f *fixture) {
	CheckHistory(f.T, []store.Store{f.store}, nil)
}

// history is the operations and results of several clients.
type history struct {
	HistoryOptions
	t      *testing.T
	seed   uint64
	clock  atomic.Int64 // a number for each begin and end of an operation
	nextID atomic.Int64 // of archives; the archive of an id has this id as its content
	mu     sync.Mutex
	done   []porcupine.Operation // guarded by mu
}

// verb is the kind of an operation.
type verb string

const (
	verbRead   verb = "read"
	verbPut    verb = "put"
	verbDelete verb = "delete"
)

// result is the outcome of an operation.
type result string

const (
	resultDone     result = "done"
	resultConflict result = "conflict"
	resultMissing  result = "not exist"
	resultUnknown  result = "unknown"
)

// noArchive is the id that stands for no archive.
const noArchive = 0

// action is the input of an operation, in the words of the model: archives are ids.
type action struct {
	verb   verb
	key    string
	expect int64 // put, delete: the archive to be replaced or removed
	id     int64 // put: the new archive
}

// sight is the output of an operation.
type sight struct {
	result result
	id     int64 // read: the archive found
}

// registers is the model of a key: a register with compare-and-swap, whose state
// is the id of the archive.
var registers = (&porcupine.NondeterministicModel{
	Partition: byKey,
	Init:      func() []any { return []any{int64(noArchive)} },
	Step: func(state, input, output any) []any {
		return step(state.(int64), input.(action), output.(sight))
	},
	Hash:              func(state any) uint64 { return uint64(state.(int64)) },
	DescribeOperation: func(input, output any) string { return describe(input.(action), output.(sight)) },
	DescribeState:     func(state any) string { return fmt.Sprint(state) },
}).ToModel()

// step returns the possible archives after an operation; none if the operation could not have
// had that result.
func step(now int64, a action, s sight) []any {
	becomes := a.id
	if a.verb == verbDelete {
		becomes = noArchive
	}
	holds := now == a.expect
	switch {
	case a.verb == verbRead && now == s.id,
		s.result == resultConflict && !holds,
		s.result == resultMissing && now == noArchive,
		s.result == resultUnknown && !holds:
		return []any{now}
	case s.result == resultUnknown:
		return []any{now, becomes}
	case a.verb != verbRead && s.result == resultDone && holds:
		return []any{becomes}
	}
	return nil
}

func byKey(all []porcupine.Operation) [][]porcupine.Operation {
	keys := map[string][]porcupine.Operation{}
	for _, op := range all {
		key := op.Input.(action).key
		keys[key] = append(keys[key], op)
	}
	var parts [][]porcupine.Operation
	for _, part := range keys {
		parts = append(parts, part)
	}
	return parts
}

func describe(a action, s sight) string {
	switch a.verb {
	case verbPut:
		return fmt.Sprintf("put %s: %d replaces %d: %s", a.key, a.id, a.expect, s.result)
	case verbDelete:
		return fmt.Sprintf("delete %s: %d: %s", a.key, a.expect, s.result)
	}
	return fmt.Sprintf("read %s: %d", a.key, s.id)
}

// check looks for an order, and shows the operations of a key without one.
func (h *history) check() {
	h.t.Helper()
	if h.t.Failed() {
		return
	}
	for _, part := range byKey(h.done) {
		if porcupine.CheckOperations(registers, part) {
			continue
		}
		slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
		var lines strings.Builder
		for _, op := range part {
			fmt.Fprintf(&lines, "[%d, %d] client %d: %s\n", op.Call, op.Return, op.ClientId, registers.DescribeOperation(op.Input, op.Output))
		}
		h.t.Errorf("no order explains this history (seed %d):\n%s", h.seed, lines.String())
	}
}

// never is later than every end of an operation.
const never = 1 << 62

// add puts an operation into the history.
func (h *history) add(client int, a action, s sight, call int64) {
	end := h.clock.Add(1)
	if s.result == resultUnknown {
		end = never
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.done = append(h.done, porcupine.Operation{ClientId: client, Input: a, Output: s, Call: call, Return: end})
}

// seen is an archive as a client last saw it.
type seen struct {
	id  int64
	rev store.Revision
}

// client performs random operations.
type client struct {
	*history
	number int
	store  store.Store
	rand   *rand.Rand
	last   map[string]seen // by key, the archive it saw last
	before map[string]seen // by key, the archive it saw before that
}

func newClient(h *history, number int, s store.Store) *client {
	return &client{
		history: h, number: number, store: s,
		rand: rand.New(rand.NewPCG(h.seed, uint64(number))),
		last: map[string]seen{}, before: map[string]seen{},
	}
}

func (c *client) work() {
	for range c.Operations {
		c.operate(c.t.Context(), fmt.Sprintf("key-%d", c.rand.IntN(c.Keys)))
	}
}

// operate does one random operation. Usually it continues from the archive that the client saw
// last, so that writes also succeed and do not only conflict.
func (c *client) operate(ctx context.Context, key string) {
	expect := c.last[key]
	if c.rand.IntN(8) == 0 {
		expect = c.before[key]
	}
	switch n := c.rand.IntN(10); {
	case n < 3:
		c.open(ctx, key)
	case n < 5:
		c.stat(ctx, key)
	case n == 5 && !c.NoDeletes && expect.id != noArchive:
		c.delete(ctx, key, expect)
	default:
		c.put(ctx, key, expect)
	}
}

func (c *client) saw(key string, s seen) {
	c.before[key], c.last[key] = c.last[key], s
}

func (c *client) open(ctx context.Context, key string) {
	call := c.clock.Add(1)
	o, err := c.store.Open(ctx, key)
	if c.readFailed(key, call, err) {
		return
	}
	defer o.Close()
	content, err := io.ReadAll(o)
	if err != nil {
		c.unexpected("read", err, store.ErrConflict)
		return
	}
	info := o.Info()
	if int64(len(content)) != info.Size {
		c.t.Errorf("%d bytes of an archive of %d", len(content), info.Size)
	}
	c.read(key, call, info)
}

func (c *client) stat(ctx context.Context, key string) {
	call := c.clock.Add(1)
	info, err := c.store.Stat(ctx, key)
	if !c.readFailed(key, call, err) {
		c.read(key, call, info)
	}
}

func (c *client) read(key string, call int64, info store.Info) {
	id := c.Archives.ID(info.Size)
	c.add(c.number, action{verb: verbRead, key: key}, sight{id: id}, call)
	c.saw(key, seen{id, info.Revision})
}

// readFailed reports whether a read returned no archive. The absence of an archive is also
// recorded as a result.
func (c *client) readFailed(key string, call int64, err error) bool {
	switch {
	case errors.Is(err, store.ErrNotExist):
		c.add(c.number, action{verb: verbRead, key: key}, sight{id: noArchive}, call)
		c.saw(key, seen{})
	case err != nil:
		c.unexpected("read", err)
	}
	return err != nil
}

func (c *client) put(ctx context.Context, key string, expect seen) {
	a := action{verb: verbPut, key: key, expect: expect.id, id: c.nextID.Add(1)}
	call := c.clock.Add(1)
	info, err := c.Archives.Put(ctx, c.store, key, a.id, expect.id, expect.rev)
	c.wrote(a, call, err)
	if err == nil && info.Revision != "" { // a commit that already has successors has none
		c.saw(key, seen{a.id, info.Revision})
	}
}

func (c *client) delete(ctx context.Context, key string, expect seen) {
	a := action{verb: verbDelete, key: key, expect: expect.id}
	call := c.clock.Add(1)
	err := c.store.Delete(ctx, key, expect.rev, nil)
	c.wrote(a, call, err)
	if err == nil {
		c.saw(key, seen{})
	}
}

// wrote adds a write to the history, if it may have had an effect or shows the state.
func (c *client) wrote(a action, call int64, err error) {
	s := sight{result: resultDone}
	switch {
	case err == nil:
	case errors.Is(err, store.ErrUnknown):
		s.result = resultUnknown
		c.unexpected(string(a.verb), err)
	case errors.Is(err, store.ErrConflict):
		s.result = resultConflict
	case errors.Is(err, store.ErrNotExist) && a.verb == verbDelete:
		s.result = resultMissing
	default:
		c.unexpected(string(a.verb), err)
		return
	}
	c.add(c.number, a, s, call)
}

// unexpected fails the test because of an error, unless operations may fail or the
// error is one of these.
func (c *client) unexpected(what string, err error, but ...error) {
	if c.MayFail || slices.ContainsFunc(but, func(b error) bool { return errors.Is(err, b) }) {
		return
	}
	c.t.Errorf("client %d: %s: %v", c.number, what, err)
}
