package fusefs

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/workdir/workdir/fs"
)

// handler answers the requests of one connection, whatever carries them: it counts them,
// refuses what the mount does not do, and catches panics. It is safe for concurrent use.
type handler struct {
	server *server
	tree   *fs.Tree
	logger *slog.Logger
	table  [opCount]operation // immutable

	refuse [opCount]fuse.Status   // immutable; OK where the operation is allowed
	counts [opCount]atomic.Uint64 // requests
}

// newHandler returns the operations on t for the options o.
func newHandler(t *fs.Tree, o *Options) (*handler, error) {
	wanted, off, err := o.features()
	if err != nil {
		return nil, err
	}
	s := &server{tree: t, wanted: wanted, readOnly: o.ReadOnly}
	h := &handler{server: s, tree: t, logger: o.logger(), table: operations}
	if o.ReadOnly {
		for i := range h.table {
			if h.table[i].changes {
				h.refuse[i] = fuse.EROFS
			}
		}
	}
	if o.Lower != nil {
		unused, err := refusedBy(o.Lower)
		if err != nil {
			return nil, err
		}
		off, s.lower = append(off, unused...), true
	}
	for _, op := range off {
		h.refuse[op] = fuse.ENOSYS
	}
	return h, nil
}

// handle answers the request r.in, and reports whether the kernel waits for the answer,
// which is st and, if that is OK, what r has. The rest of r is scratch.
func (h *handler) handle(r *request) (st fuse.Status, answered bool) {
	if len(r.in) < headerSize {
		return fuse.EIO, false
	}
	o := op(r.header().Opcode)
	if o >= opCount || h.table[o].do == nil {
		return fuse.ENOSYS, true
	}
	operation := &h.table[o]
	if len(r.in) < int(operation.size) {
		return fuse.EIO, !operation.silent
	}
	r.rest = r.in[operation.size:]
	return h.call(o, operation, r), !operation.silent
}

func (h *handler) call(o op, operation *operation, r *request) (st fuse.Status) {
	h.counts[o].Add(uint64(requestsIn(o, r)))
	switch {
	case h.tree.Poisoned():
		return fuse.EIO // an operation that panicked may have left a lock locked
	case h.refuse[o] != fuse.OK:
		return h.refuse[o]
	}
	defer h.recover(operation, &st)
	if operation.changes && o != opWrite {
		h.server.gate.enter(r)
		defer h.server.gate.leave()
	}
	return operation.do(h.server, r)
}

// requestsIn returns as how many requests r counts.
func requestsIn(o op, r *request) int {
	if o == opBatchForget {
		return len(forgets(r))
	}
	return 1
}

// recover is deferred around each operation. It turns a panic into EIO, poisons the
// tree, and logs the stack, because a panic in a request's goroutine would end the
// process with all its mounts.
func (h *handler) recover(operation *operation, st *fuse.Status) {
	r := recover()
	if r == nil {
		return
	}
	*st = fuse.EIO
	h.tree.Poison(fmt.Errorf("%s: panic: %v", operation.name, r))
	h.logger.Error("panic in a fuse operation; the mount is dead",
		"op", operation.name, "panic", r, "stack", string(debug.Stack()))
}

// stats returns the requests so far by the operation's name, without INTERRUPT and DESTROY,
// which ask for nothing.
func (h *handler) stats() map[string]uint64 {
	m := make(map[string]uint64)
	for i := range h.counts {
		n := h.counts[i].Load()
		switch name := op(i).String(); {
		case n == 0, op(i) == opInterrupt, op(i) == opDestroy:
		case op(i) == opBatchForget:
			m[opForget.String()] += n
		default:
			m[name] += n
		}
	}
	return m
}

// status is the only place where the tree's errors become FUSE's.
func status(errno syscall.Errno) fuse.Status { return fuse.Status(errno) }
