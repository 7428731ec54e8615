// Package panics makes a panic the error of the call that it is in, so that it ends that
// call and nothing else that the process has.
package panics

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Error is a panic that was caught at a door: where a call, the loading of an
// archive or a commit begins. It is the end of what panicked, and of nothing else that
// the process has.
type Error struct {
	op    string
	value any
	stack string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: panic: %v", e.op, e.value) }

// Catch is to be deferred: it makes a panic the error of the function that defers it.
func Catch(op string, err *error) {
	if r := recover(); r != nil {
		*err = New(op, r)
	}
}

// New returns the error for what recover returned.
func New(op string, value any) error {
	return &Error{op: op, value: value, stack: string(debug.Stack())}
}

// Log tells the log where a panic came from, if err is one.
func Log(log *slog.Logger, err error) {
	var p *Error
	if errors.As(err, &p) {
		log.Error("panic: what it hit has ended, the rest goes on", "op", p.op, "panic", p.value, "stack", p.stack)
	}
}
