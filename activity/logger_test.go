package activity

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

// lines is a log of the SDK that keeps what it gets.
type lines []string

func (l *lines) add(level, msg string, pairs []any) {
	line := fmt.Sprintln(append([]any{level, msg}, pairs...)...)
	*l = append(*l, strings.TrimSpace(line))
}

func (l *lines) Debug(msg string, pairs ...any) { l.add("debug", msg, pairs) }
func (l *lines) Info(msg string, pairs ...any)  { l.add("info", msg, pairs) }
func (l *lines) Warn(msg string, pairs ...any)  { l.add("warn", msg, pairs) }
func (l *lines) Error(msg string, pairs ...any) { l.add("error", msg, pairs) }

func TestLogHandler(t *testing.T) {
	var got lines
	log := slog.New(logHandler{out: &got})
	log.Debug("one")
	log.Info("two", "path", "/p")
	log.With("pid", 7).WithGroup("g").Warn("three", slog.Group("h", "k", "v"))
	log.Error("four")
	want := lines{"debug one", "info two path /p", "warn three pid 7 g.h.k v", "error four"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoggerOutsideOfAnActivity(t *testing.T) {
	if logger(context.Background()) != slog.Default() {
		t.Error("not slog's default")
	}
}
