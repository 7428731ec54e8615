package activity

import (
	"github.com/workdir/workdir/activity/internal/failure"
	"github.com/workdir/workdir/activity/internal/template"
)

// Conditions of this package, for errors.Is in the worker. Workflows see the types of package
// errtype.
var (
	// ErrNoPlugin: the context is not an activity's, or its worker does not have the plugin.
	ErrNoPlugin = failure.ErrNoPlugin
	// ErrFenced: the attempt is no longer current: it was cancelled, paused, reset, timed out
	// or replaced, or its worker is stopping. Nothing was stored.
	ErrFenced = failure.ErrFenced
	// ErrStep: the step's name is invalid, or the attempt has done that step.
	ErrStep = failure.ErrStep
	// ErrResult: the function's result is too large to be kept with the commit. Nothing was
	// stored.
	ErrResult = failure.ErrResult
)

// CheckTemplate returns an error if a URL with variables is invalid, see the package comment.
// vars are variables in addition to the ten of every activity. The error is store.ErrURL.
func CheckTemplate(url string, vars ...string) error { return template.Check(url, vars...) }
