package serve

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// DetachPatience is how long the end of the server waits for a cancelled operation of a
// mount.
const DetachPatience = 10 * time.Second

// hosted is one mount in the server process.
type hosted struct {
	server   *server          // immutable
	req      wire.OpenRequest // immutable
	dir      string           // immutable; req.Dir
	opened   time.Time        // immutable
	view     view             // set by newHosted, and again by the owner that opens; immutable once the mount is open
	warnings warnings         // has its own lock
	users    usersNote        // the owner's
	discard  func()           // returns everything that the mount has, once; see discardOnce

	*ownership

	// Set by the owner that opens, immutable until free.
	record     host.Record
	viewReason string // why the view is not another one
	store      store.Store
	url        store.URL   // the archive that is shown: the request's, or one of its versions
	shared     *sharedTree // the owner of loaded; nil if the mount has its own
	loaded                 // its tree changes with a plain directory, by the owner

	resumed      *resumed          // set by the owner who opens; the checkpoint that the tree stands on, nil for none
	checkpointed *store.Checkpoint // the owner's; the mount's own, nil before the first
}

func newHosted(s *server, req wire.OpenRequest) *hosted {
	h := &hosted{server: s, req: req, dir: string(req.Dir), opened: time.Now(), url: req.URL, ownership: newOwnership()}
	h.view = newView(h)
	h.discard = sync.OnceFunc(h.discardOnce)
	return h
}

// open reads the archive into a tree and mounts it. On error nothing is left.
func (h *hosted) open(ctx context.Context) error {
	ctx, err := h.begin(ctx)
	if err != nil {
		h.discard() // the mountpoint already exists
		return err
	}
	defer h.end()
	ctx = store.WithLogger(ctx, h.logger())
	if err = h.prepare(ctx); err == nil {
		err = h.show(ctx)
	} else {
		h.freeTree() // before the answer: the next open finds nothing of this one
	}
	if err != nil {
		h.poisonAfter(err)
		h.discard()
		return err
	}
	h.setState(wire.StateMounted)
	go h.watch()
	return nil
}

// prepare makes everything that show needs.
func (h *hosted) prepare(ctx context.Context) (err error) {
	defer panics.Catch("open", &err)
	if err := h.server.noteSpill(h.req.Spill); err != nil {
		return err
	}
	if err := h.load(ctx); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := h.checkOnce(ctx); err != nil {
		return err
	}
	return h.checkPresence(h.info.Revision != "" && h.rewound != archive.NoArchive)
}

// load opens the store and fills the tree, or finds a shared one.
func (h *hosted) load(ctx context.Context) error {
	var err error
	if h.store, err = store.OpenBucket(ctx, h.req.URL); err != nil {
		return err
	}
	if h.req.ReadOnly {
		return h.loadReading(ctx)
	}
	if err := store.Writable(ctx, h.store, h.req.URL.Key); err != nil {
		h.warn(archive.Warning{Text: "a commit will fail: " + err.Error()})
	}
	l := h.loader()
	obj, err := l.open(ctx)
	if err != nil {
		return err
	}
	head, err := h.rewind(obj)
	if err != nil {
		obj.Close()
		return err
	}
	if head != nil {
		obj.Close()
		if obj, err = h.openRewound(ctx, l, head.rewound); err != nil {
			return err
		}
	}
	if _, step := h.req.Step(); !step { // the log may say that the step itself made the archive
		if err := h.checkPresence(obj != nil); err != nil {
			obj.Close()
			return err
		}
	}
	h.loaded, err = l.load(ctx, obj)
	obj.dropEnd()
	if head != nil {
		h.info, h.log, h.rewound = head.info, head.log, head.rewound
	}
	if err == nil && h.req.FromCheckpoint != "" {
		err = h.resume(ctx)
	}
	return err
}

// loader returns a loader of the mount's archive, for the mount alone.
func (h *hosted) loader() *loader {
	return &loader{budget: &h.server.budget, bases: &h.server.bases, url: h.url, store: h.store, req: &h.req, warn: h.warn, progress: h.tellProgress}
}

// show shows the tree to tools, by the view that suits.
func (h *hosted) show(ctx context.Context) (err error) {
	defer panics.Catch("mount", &err)
	if err := h.choose(); err != nil {
		return err
	}
	return h.showChosen(func() error { return h.showRecorded(ctx) })
}

// showRecorded shows the tree. It writes the record first, for the process that may have to
// clean up, and adds the mount's device afterwards.
func (h *hosted) showRecorded(ctx context.Context) (err error) {
	if h.record, err = h.view.record(); err == nil {
		h.record.ID, h.record.URL = h.req.ID, h.req.URL.Redacted()
		err = host.WriteRecord(h.server.sessionDir(), h.req.ID, h.record)
	}
	if err != nil {
		return h.recordError(err)
	}
	if err := h.view.show(ctx); err != nil {
		return err
	}
	if dev := h.view.device(); dev != h.record.Dev {
		return h.recordDevice(dev)
	}
	return nil
}

// recordDevice writes the device of the mount into its record.
func (h *hosted) recordDevice(dev string) error {
	h.record.Dev = dev
	return h.recordError(host.WriteRecord(h.server.sessionDir(), h.req.ID, h.record))
}

func (h *hosted) recordError(err error) error {
	if err == nil || errors.Is(err, host.ErrCannotMount) {
		return err
	}
	return &host.Error{Path: h.dir, What: "write the record of the mount: " + err.Error()}
}

// watch tells the client if something other than close has ended the mount. It waits for a
// running close, which may fail and so leave a mount that has ended.
func (h *hosted) watch() {
	ended := h.view.ended()
	if ended == nil {
		return
	}
	<-ended
	_, _ = h.begin(context.Background()) // which never ends
	state := h.stateNow()
	h.end()
	if state == wire.StateMounted {
		// This is not a notification, which would be dropped if the client does not keep
		// up.
		_ = h.server.conn.Call(context.Background(), wire.CallEnded, wire.MountID{ID: h.req.ID}, nil) // fails only with the connection
	}
}

// poisonAfter poisons the tree if err is a panic, which may have left a lock of it locked.
// The caller is the owner.
func (h *hosted) poisonAfter(err error) {
	var p *panics.Error
	if h.tree != nil && errors.As(err, &p) {
		h.tree.Poison(p)
	}
}

// discardOnce is discard: it ends the mount, which will not be stored, or has been, and has
// its resources freed once nobody owns it. The caller is the owner, or detach, which does
// not wait forever for another owner.
func (h *hosted) discardOnce() {
	h.setState(wire.StateClosed)
	h.view.drop()
	host.GiveBack(h.server.sessionDir(), h.req.ID, h.dir, h.req.Made)
	h.server.freeing.Go(h.free)
}

// free waits until nobody can ask for the tree any more, and frees the memory.
func (h *hosted) free() {
	var err error
	defer func() { panics.Log(slog.New(noteHandler{server: h.server, id: h.req.ID}), err) }()
	defer panics.Catch("free", &err)
	h.view.wait()
	_, _ = h.begin(context.Background()) // which never ends
	defer h.end()
	h.awaitLooks()
	h.freeTree()
	if h.store != nil {
		_ = h.store.Close() // nothing is written through it any more
	}
}

// freeTree gives up the tree, which nobody uses any more.
func (h *hosted) freeTree() {
	if h.shared != nil {
		h.shared.release(h)
	} else {
		h.loaded.free()
	}
	h.shared, h.base, h.tree, h.home, h.owned = nil, nil, nil, nil, nil
}

// detach ends a mount whose client is gone: nothing is stored.
func (h *hosted) detach() {
	ctx, cancel := context.WithTimeout(context.Background(), DetachPatience)
	defer cancel()
	h.cancel(nil)
	if _, err := h.begin(ctx); err == nil {
		defer h.end()
	}
	h.discard()
}

func (h *hosted) status() wire.Status {
	st := wire.Status{State: h.stateNow(), ServerPID: os.Getpid(), Opened: h.opened.UTC()}
	h.whileOpen(func(state string) {
		st.State, st.Revision, st.Traffic = state, h.info.Revision, store.TrafficOf(h.store)
		st.Base = h.base.status()
		if err := h.base.lastError(); err != nil {
			st.ReadError = err.Error()
		}
		h.view.status(&st)
		st.Changes = h.sinceBase(st.Changes)
		st.ViewReason = h.viewReason
	})
	return st
}

// revoke is the server's part of Mount.Revoke. A running unmount continues: the client
// refuses the commit after it.
func (h *hosted) revoke() {
	if !h.cancelIf(wire.StateCommitting, wire.ErrAbandoned) {
		h.whileOpen(func(string) { h.view.freeze() })
	}
}
