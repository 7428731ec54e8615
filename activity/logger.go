package activity

import (
	"context"
	"log/slog"
	"slices"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/log"
)

// logger returns the activity's own log, which adds the workflow and the activity to every
// line; outside of activities it returns slog's default.
func logger(ctx context.Context) *slog.Logger {
	if !sdk.IsActivity(ctx) {
		return slog.Default()
	}
	return slog.New(logHandler{out: sdk.GetLogger(ctx)})
}

// logHandler writes slog's records to a log of the SDK, which does its own filtering.
type logHandler struct {
	out    log.Logger
	attrs  []any  // keys and values of WithAttrs
	prefix string // of WithGroup, with its dots
}

// Enabled returns true: the SDK's log cannot be asked for its level.
func (h logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle writes one record.
func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	pairs := slices.Clone(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		pairs = h.add(pairs, a)
		return true
	})
	switch {
	case r.Level >= slog.LevelError:
		h.out.Error(r.Message, pairs...)
	case r.Level >= slog.LevelWarn:
		h.out.Warn(r.Message, pairs...)
	case r.Level >= slog.LevelInfo:
		h.out.Info(r.Message, pairs...)
	default:
		h.out.Debug(r.Message, pairs...)
	}
	return nil
}

// add appends an attribute as key and value; a group is flattened.
func (h logHandler) add(pairs []any, a slog.Attr) []any {
	v := a.Value.Resolve()
	if v.Kind() != slog.KindGroup {
		return append(pairs, h.prefix+a.Key, v.Any())
	}
	if a.Key != "" {
		h.prefix += a.Key + "."
	}
	for _, member := range v.Group() {
		pairs = h.add(pairs, member)
	}
	return pairs
}

// WithAttrs returns a handler that adds attrs to every record.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		h.attrs = h.add(h.attrs, a)
	}
	return h
}

// WithGroup returns a handler that puts the keys beneath name.
func (h logHandler) WithGroup(name string) slog.Handler {
	if name != "" {
		h.prefix += name + "."
	}
	return h
}
