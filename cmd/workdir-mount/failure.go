package main

import (
	"errors"
	"slices"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// failure is an error in the form of --json, on standard error.
type failure struct {
	Error failureDetail `json:"error"`
}

type failureDetail struct {
	Code    int    `json:"code"`           // exit code
	Type    string `json:"type"`           // as docs/errors.md names it, or usage, signal or other
	Message string `json:"message"`        // the text printed without --json
	Hint    string `json:"hint,omitempty"` // what the user can do, if that is more than the message says
}

func newFailure(err error, message string) failure {
	return failure{failureDetail{exitCode(err), failureType(err), message, hint(err)}}
}

// failureType names the condition of an error.
func failureType(err error) string {
	code := exitCode(err)
	for _, row := range exitTable {
		if row.code == code && errors.Is(err, row.err) {
			return row.name
		}
	}
	switch {
	case code == exitUsage:
		return "usage"
	case errors.As(err, new(*interruption)):
		return "signal"
	}
	return onlyTypeOf(code)
}

// onlyTypeOf returns the type of errors of an exit code, if there is only one.
func onlyTypeOf(code int) string {
	found := "other"
	for _, row := range exitTable {
		if row.code != code {
			continue
		}
		if found != "other" {
			return "other"
		}
		found = row.name
	}
	return found
}

// hint returns what the user can do about an error, or "".
func hint(err error) string {
	var inStore *store.Error
	var onHost *mount.HostError
	switch {
	case errors.As(err, &inStore):
		return inStore.Todo
	case errors.As(err, &onHost):
		return onHost.Hint
	}
	return ""
}

// wantsJSON reports whether a command line, even an invalid one, requests JSON.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.Contains(args, "--json") || slices.Contains(args, "--json=true")
}
