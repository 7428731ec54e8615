package mount

import (
	"encoding/json"
	"slices"

	"github.com/workdir/workdir/mount/internal/wire"
)

// watcher is called with progress in addition to Options.Progress. It must not block.
type watcher struct{ tell func(Progress) }

// watch adds a watcher, until stop is called.
func (m *Mount) watch(tell func(Progress)) (stop func()) {
	w := &watcher{tell}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers = append(m.watchers, w)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.watchers = slices.DeleteFunc(m.watchers, func(o *watcher) bool { return o == w })
	}
}

func (m *Mount) progress(body json.RawMessage) {
	note, err := wire.Decode[wire.ProgressNote](body)
	if err != nil {
		return
	}
	m.mu.Lock()
	watchers := slices.Clone(m.watchers)
	m.mu.Unlock()
	if m.opts.Progress != nil {
		m.callbacks.runLatest(func() { m.opts.Progress(Progress(note.Progress)) })
	}
	for _, w := range watchers {
		w.tell(Progress(note.Progress))
	}
}
