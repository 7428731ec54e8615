package serve

import (
	"context"
	"fmt"

	"github.com/workdir/workdir/archive"
)

// rewind decides whether a mount for a run that was reset shows another archive than obj,
// the newest one, which may be nil. If so, it returns the info and log of obj, on top of
// which a commit goes, and the commit that is shown in its place; otherwise nil. A step
// that is in the log of obj is not done again, so nothing is rewound for it.
// store.ErrRewind.
func (h *hosted) rewind(obj *openObject) (*loaded, error) {
	if h.req.Rewind == nil || obj == nil {
		return nil, nil
	}
	info := obj.Info()
	if err := obj.holdEnd(); err != nil {
		return nil, fmt.Errorf("open %s: %w", h.req.URL.Redacted(), err)
	}
	log, err := archive.ReadLog(obj, info.Size)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", h.req.URL.Redacted(), err)
	}
	if step, ok := h.req.Step(); ok {
		if done, _ := step.In(log); done != nil {
			return nil, nil
		}
	}
	to, err := h.req.Rewind.Target(&h.req.Origin, h.req.URL, log)
	if err != nil || to == "" {
		return nil, err
	}
	return &loaded{info: info, log: log.StoredAt(info.ModTime), rewound: to}, nil
}

// openRewound opens the archive of a commit to which the workspace is rewound; nil for
// archive.NoArchive. store.ErrNoVersion if it was not kept.
func (h *hosted) openRewound(ctx context.Context, l *loader, to archive.CommitID) (*openObject, error) {
	if to == archive.NoArchive {
		return nil, nil
	}
	h.url.Commit = to
	l.url = h.url
	obj, err := openTail(ctx, l.store, l.url)
	if err != nil {
		return nil, fmt.Errorf("the workflow was reset, and its run needs the workspace as commit %s has left it: %w", to.Short(), err)
	}
	return obj, nil
}

// loadReading loads the tree of a read-only mount, which is shared unless it is rewound to
// before the first archive.
func (h *hosted) loadReading(ctx context.Context) error {
	l := h.loader()
	head, err := h.rewindReading(ctx, l)
	switch {
	case err != nil:
		return err
	case head == nil:
		return h.loadShared(ctx)
	case head.rewound == archive.NoArchive:
		h.loaded, err = l.load(ctx, nil)
	default:
		h.url.Commit = head.rewound
		err = h.loadShared(ctx)
	}
	h.rewound = head.rewound
	return err
}

// rewindReading is rewind for a mount whose archive is not open yet.
func (h *hosted) rewindReading(ctx context.Context, l *loader) (*loaded, error) {
	if h.req.Rewind == nil {
		return nil, nil
	}
	obj, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	defer obj.Close()
	return h.rewind(obj)
}
