package main

import (
	"context"
	"io"
	"log/slog"
	"strings"
)

// lineHandler writes log records as short lines for people, without time:
//
//	workdir-mount: warning: TEXT (key=value)
type lineHandler struct {
	out    io.Writer
	level  slog.Leveler
	attrs  string // of With, already formatted
	prefix string // of WithGroup, with its dots
}

// Enabled follows the flags -q and -v.
func (h *lineHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level.Level() }

// Handle writes one line.
func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		attrs += h.attr(a)
		return true
	})
	line := "workdir-mount: " + levelWord(r.Level) + r.Message
	if attrs != "" {
		line += " (" + strings.TrimPrefix(attrs, ", ") + ")"
	}
	return printText(h.out, line+"\n")
}

func levelWord(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "error: "
	case l >= slog.LevelWarn:
		return "warning: "
	}
	return ""
}

func (h *lineHandler) attr(a slog.Attr) string {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return ""
	}
	if v.Kind() != slog.KindGroup {
		return ", " + h.prefix + a.Key + "=" + v.String()
	}
	in := *h
	if a.Key != "" {
		in.prefix += a.Key + "."
	}
	var s string
	for _, member := range v.Group() {
		s += in.attr(member)
	}
	return s
}

// WithAttrs returns a handler that writes attrs on every line.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		with.attrs += h.attr(a)
	}
	return &with
}

// WithGroup returns a handler that writes the names of attributes below name.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	with := *h
	if name != "" {
		with.prefix += name + "."
	}
	return &with
}
