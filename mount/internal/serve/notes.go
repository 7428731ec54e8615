package serve

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
)

// logger returns the mount's log at the client.
func (h *hosted) logger() *slog.Logger {
	return slog.New(noteHandler{server: h.server, id: h.req.ID})
}

// maxWarnings limits how many warnings about one archive are kept.
const maxWarnings = 20

// warnings collects warnings about an archive.
type warnings struct {
	mu   sync.Mutex
	text []string // guarded by mu
	more int      // guarded by mu; how many are not kept
}

func (w *warnings) add(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.text, text) {
		return false
	}
	if len(w.text) == maxWarnings {
		w.more++
		return false
	}
	w.text = append(w.text, text)
	return true
}

func (w *warnings) list() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.text)
}

func (w *warnings) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text, w.more = nil, 0
}

// warn keeps a warning for the client and sends it to its log.
func (h *hosted) warn(w archive.Warning) {
	text := w.Text
	if w.Path != "" {
		text = w.Path + ": " + text
	}
	if h.warnings.add(text) {
		h.server.note(h.req.ID, slog.LevelWarn, text)
	}
}

// warnAt is warn in the form that adapters of a tree call.
func (h *hosted) warnAt(path, text string) { h.warn(archive.Warning{Path: path, Text: text}) }

// progressInterval is the shortest time between two reports of progress to the client.
const progressInterval = 100 * time.Millisecond

// progress reports progress to the client. One goroutine uses it.
type progress struct {
	tell func(wire.Progress)
	now  wire.Progress
	last time.Time
}

func (h *hosted) progress(phase wire.Phase, total int64) *progress {
	return &progress{tell: h.tellProgress, now: wire.Progress{Phase: phase, Total: total}}
}

func (p *progress) report(bytes int64) {
	p.now.Bytes = bytes
	if time.Since(p.last) < progressInterval {
		return
	}
	p.last = time.Now()
	p.send()
}

func (p *progress) done() {
	if p.now.Total > 0 {
		p.now.Bytes = p.now.Total
	}
	p.send()
}

func (p *progress) send() { p.tell(p.now) }

// tellProgress sends to the client. It never waits.
func (h *hosted) tellProgress(p wire.Progress) {
	h.server.conn.Notify(wire.NoteProgress, wire.ProgressNote{ID: h.req.ID, Progress: p})
}

// noteHandler is a slog.Handler that sends to the client's log.
type noteHandler struct {
	server *server
	id     uint64
	attrs  [][2]string
	group  string
}

func (n noteHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

func (n noteHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := slices.Clone(n.attrs)
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, [2]string{n.group + a.Key, a.Value.String()})
		return true
	})
	n.server.note(n.id, r.Level, r.Message, attrs...)
	return nil
}

func (n noteHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n.attrs = slices.Clone(n.attrs)
	for _, a := range attrs {
		n.attrs = append(n.attrs, [2]string{n.group + a.Key, a.Value.String()})
	}
	return n
}

func (n noteHandler) WithGroup(name string) slog.Handler {
	n.group += name + "."
	return n
}
