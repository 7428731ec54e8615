package activity

import (
	"github.com/workdir/workdir/activity/internal/failure"
	"github.com/workdir/workdir/activity/internal/template"
)

// Conditions of this package, for errors.Is in the worker. Workflows see types, those of
// package errtype.
var (
	// ErrNoPlugin: the context is of no activity, or its worker does not have the plugin.
	ErrNoPlugin = failure.ErrNoPlugin
	// ErrFenced: the attempt is not current any more: it was cancelled, paused, reset,
	// timed out or replaced, or its worker is stopping. Nothing was stored.
	ErrFenced = failure.ErrFenced
	// ErrStep: the step's name is no good, or the attempt has done that step.
	ErrStep = failure.ErrStep
	// ErrResult: what the function returned is too large to be kept with the
	// commit. Nothing was stored.
	ErrResult = failure.ErrResult
)

// CheckTemplate says what is wrong with a URL that may have variables, see the
// package comment. vars are the variables that there are beside the ten of every
// activity. The error is store.ErrURL.
func CheckTemplate(url string, vars ...string) error { return template.Check(url, vars...) }
