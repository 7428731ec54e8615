package store

import (
	"context"
	"log/slog"
)

// LevelWaiting is the level of messages about what an operation waits for, such as a server
// that does not answer. workdir-mount shows them on a terminal.
const LevelWaiting = slog.LevelInfo + 2

type loggerKey struct{}

// WithLogger returns a context whose operations on stores log what they wait for to l. Without
// one they log to slog.Default.
func WithLogger(ctx context.Context, l *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, l)
}

// Logger returns the logger of WithLogger, or slog.Default. It is for drivers.
func Logger(ctx context.Context) *slog.Logger {
	if l, ok := ctx.Value(loggerKey{}).(*slog.Logger); ok {
		return l
	}
	return slog.Default()
}
