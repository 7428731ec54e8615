// Package panics turns a panic into the error of the call that it occurs in, so that it ends
// only that call and not the process.
package panics

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// Error is a panic that was caught where a call, the loading of an archive or a commit begins.
// It ends only that operation and not the process.
type Error struct {
	op    string
	value any
	stack string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: panic: %v", e.op, e.value) }

// Catch must be deferred: it turns a panic into the error of the function that defers it.
func Catch(op string, err *error) {
	if r := recover(); r != nil {
		*err = New(op, r)
	}
}

// New returns the error for what recover returned.
func New(op string, value any) error {
	return &Error{op: op, value: value, stack: string(debug.Stack())}
}

// Log logs the stack of a panic, if err is one.
func Log(log *slog.Logger, err error) {
	var p *Error
	if errors.As(err, &p) {
		log.Error("panic: the operation has ended, the process continues", "op", p.op, "panic", p.value, "stack", p.stack)
	}
}
