package mount

import (
	"context"
	"encoding/json"
	"iter"
	"sync"

	"github.com/workdir/workdir/mount/internal/wire"
)

// Change is one path that differs in a mount. An entry that was moved and modified has two.
// Entries below a directory that was moved have none for the move.
type Change struct {
	Path    string `json:"path"`              // without a slash at the beginning; "" is the root directory
	RawPath []byte `json:"rawPath,omitempty"` // Path if it is not UTF-8, as JSON strings must be
	Change  string `json:"change"`            // "created", "modified", "removed" or "moved"
	From    string `json:"from,omitempty"`    // the former path of a moved entry
	RawFrom []byte `json:"rawFrom,omitempty"` // likewise
	Kind    string `json:"kind"`              // "file", "directory", "symlink", "fifo", "character device", "block device"
	Size    int64  `json:"size"`              // bytes of a file, also of a removed one; else 0
}

func changeOf(c *wire.Change) Change {
	path, from := string(c.Path), string(c.From)
	return Change{Path: path, RawPath: RawPath(path), Change: c.Change, From: from, RawFrom: RawPath(from), Kind: c.Kind, Size: c.Size}
}

// Changes returns the paths that differ from what was opened, in archive order: a directory
// before its content, names sorted by bytes. The work may continue meanwhile; the list then
// shows one moment or, in the overlay, the time while it was read. A path that was changed
// back may be in it. The list is made once and sent in pieces, so that a long one does not
// fill the memory of this process.
//
// An error is the last value yielded: ErrClosed once Close has begun; ErrServerLost.
func (m *Mount) Changes(ctx context.Context) iter.Seq2[Change, error] {
	return eachChange(ctx, m.sendChanges)
}

// sendChanges calls deliver for one piece of the list after the other.
func (m *Mount) sendChanges(ctx context.Context, deliver deliverFunc) error {
	list := m.session.lists.add(deliver)
	defer m.session.lists.remove(list)
	err := m.session.conn.Call(ctx, wire.CallChanges, wire.ChangesRequest{ID: m.id, List: list}, nil)
	if err != nil {
		return m.callError(ctx, err)
	}
	return nil
}

// Changes is Mount.Changes of a mount of another process.
func (r *Remote) Changes(ctx context.Context) iter.Seq2[Change, error] {
	return eachChange(ctx, func(ctx context.Context, deliver deliverFunc) error {
		return r.exchange(ctx, remoteChanges, remoteRequest{}, nil, func(ctx context.Context, method string, body json.RawMessage) error {
			some, err := wire.Decode[wire.SomeChanges](body)
			if err != nil || method != wire.CallChanged {
				return err
			}
			return deliver(ctx, some.Changes)
		})
	})
}

// deliverFunc takes a piece of the list. It blocks until the piece is used.
type deliverFunc func(ctx context.Context, some []wire.Change) error

// eachChange iterates over the changes that send delivers.
func eachChange(ctx context.Context, send func(context.Context, deliverFunc) error) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		pages, end := make(chan []wire.Change), make(chan error, 1)
		go func() {
			end <- send(ctx, func(called context.Context, some []wire.Change) error {
				select {
				case pages <- some:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				case <-called.Done():
					return context.Cause(called)
				}
			})
		}()
		for {
			select {
			case some := <-pages:
				for i := range some {
					if !yield(changeOf(&some[i]), nil) {
						return
					}
				}
			case err := <-end:
				if err != nil {
					yield(Change{}, err)
				}
				return
			}
		}
	}
}

// lists holds the receivers of lists of changes, by number.
type lists struct {
	mu      sync.Mutex
	last    uint64                 // guarded by mu
	waiting map[uint64]deliverFunc // guarded by mu
}

func (l *lists) add(deliver deliverFunc) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = map[uint64]deliverFunc{}
	}
	l.last++
	l.waiting[l.last] = deliver
	return l.last
}

func (l *lists) remove(list uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, list)
}

// deliver passes a piece to the receiver of its list. ErrClosed if there is no receiver any
// more.
func (l *lists) deliver(ctx context.Context, body json.RawMessage) error {
	some, err := wire.Decode[wire.SomeChanges](body)
	if err != nil {
		return err
	}
	l.mu.Lock()
	deliver := l.waiting[some.List]
	l.mu.Unlock()
	if deliver == nil {
		return ErrClosed
	}
	return deliver(ctx, some.Changes)
}
