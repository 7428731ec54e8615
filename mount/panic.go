package mount

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
)

// panicError is a panic that was caught at a door: where a call, the loading of an
// archive or a commit begins. It is the end of what panicked, and of nothing else that
// the process has.
type panicError struct {
	op    string
	value any
	stack string
}

func (e *panicError) Error() string { return fmt.Sprintf("%s: panic: %v", e.op, e.value) }

// catch, deferred, makes a panic the error of the function that defers it.
func catch(op string, err *error) {
	if r := recover(); r != nil {
		*err = newPanicError(op, r)
	}
}

func newPanicError(op string, value any) error {
	return &panicError{op: op, value: value, stack: string(debug.Stack())}
}

// logPanic tells the log where a panic came from, if err is one.
func logPanic(log *slog.Logger, err error) {
	var p *panicError
	if errors.As(err, &p) {
		log.Error("panic: what it hit has ended, the rest goes on", "op", p.op, "panic", p.value, "stack", p.stack)
	}
}
