package failure

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// documented is a row of docs/errors.md that has a Temporal type.
type documented struct{ name, typ, retried, message string }

func readErrorTable(t *testing.T) []documented {
	t.Helper()
	text, err := os.ReadFile("../../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []documented
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 7 {
			continue
		}
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		if strings.HasPrefix(cells[3], "workdir.") && cells[1] != "" {
			rows = append(rows, documented{name: cells[1], typ: cells[3], retried: cells[4], message: cells[6]})
		}
	}
	return rows
}

// The documented table and the one in the code say the same.
func TestErrorDocument(t *testing.T) {
	rows := readErrorTable(t)
	if len(rows) != len(errorTable) {
		t.Fatalf("docs/errors.md has %d rows with a type, the code %d", len(rows), len(errorTable))
	}
	for _, want := range errorTable {
		i := slices.IndexFunc(rows, func(r documented) bool { return r.name == want.name })
		if i < 0 {
			t.Errorf("%s is not in docs/errors.md", want.name)
			continue
		}
		row := rows[i]
		retried := map[bool]string{true: "yes", false: "no"}[want.retry]
		if first, _, _ := strings.Cut(row.retried, ";"); row.typ != want.typ || first != retried {
			t.Errorf("%s is %s, retried: %s; want %s, retried: %s", want.name, row.typ, row.retried, want.typ, retried)
		}
		if !strings.Contains(want.err.Error(), row.message) {
			t.Errorf("%s: message %q is not in the error's text %q", want.name, row.message, want.err)
		}
	}
}

// Each row is the first that its own error matches, and returns what it says.
func TestErrorTable(t *testing.T) {
	for _, row := range errorTable {
		err := fmt.Errorf("open s3://b/k: %w: some reason", row.err)
		var app *temporal.ApplicationError
		if got := ToTemporal(err); !errors.As(got, &app) || !errors.Is(got, row.err) {
			t.Fatalf("%s became %v", row.name, got)
		}
		if app.Type() != row.typ || app.NonRetryable() == row.retry || app.Message() != err.Error() {
			t.Errorf("%s is %s, non-retryable %v, %q", row.name, app.Type(), app.NonRetryable(), app.Message())
		}
	}
}

func TestToTemporal(t *testing.T) {
	theirs := temporal.NewApplicationError("theirs", "Theirs")
	tests := []struct {
		name  string
		in    error
		typ   string
		retry bool
	}{
		{"reason of a failed commit", fmt.Errorf("%w: %w", mount.ErrCommit, store.ErrUnreachable), errtype.Unreachable, true},
		{"reason that stays", fmt.Errorf("%w: %w", mount.ErrCommit, store.ErrNotConditional), errtype.NotConditional, false},
		{"commit without a known reason", fmt.Errorf("%w: out of luck", mount.ErrCommit), errtype.Commit, true},
		{"too large for this worker", fmt.Errorf("%w: %w", mount.ErrLimit, archive.ErrLimit), errtype.Limit, true},
		{"anything else", os.ErrInvalid, errtype.Other, true},
		{"fenced, whatever came of it", &Fenced{Cause: context.Canceled, Err: store.ErrConflict}, errtype.Fenced, true},
		{"fenced, by the end of a context with a cause for Temporal", &Fenced{Cause: theirs}, errtype.Fenced, true},
		{"Temporal's own", theirs, "Theirs", true},
		{"one that wraps Temporal's own", fmt.Errorf("%w: %w", store.ErrURL, theirs), errtype.URL, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var app *temporal.ApplicationError
			err := ToTemporal(test.in)
			if !errors.As(err, &app) || app.Type() != test.typ || app.NonRetryable() == test.retry {
				t.Errorf("got %v, want %s, retried %v", err, test.typ, test.retry)
			}
			if !errors.Is(err, test.in) {
				t.Error("the original error is lost")
			}
		})
	}
}

func TestUnknownPastIsNotRetried(t *testing.T) {
	var app *temporal.ApplicationError
	if err := OfOpen(fmt.Errorf("open: %w", store.ErrUnknown)); !errors.As(err, &app) || !app.NonRetryable() || app.Type() != errtype.Unknown {
		t.Errorf("got %v", err)
	}
}

// An open that was cut off is tried again, whatever was not known by then.
func TestUnknownPastOfAFencedOpen(t *testing.T) {
	var app *temporal.ApplicationError
	err := OfOpen(&Fenced{Op: "open", Cause: context.Canceled, Err: fmt.Errorf("open: %w", store.ErrUnknown)})
	if !errors.As(err, &app) || app.NonRetryable() || app.Type() != errtype.Fenced {
		t.Errorf("got %v", err)
	}
}

// What a workflow sees of a conflict, after the way through the history.
func TestConflictInTheHistory(t *testing.T) {
	when := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	conflict := &store.ConflictError{Key: "k", Want: "rev-1", Have: "rev-2", Further: 2, Between: []archive.Record{
		{ID: "c2", Time: when, Host: "h", Origin: archive.Origin{Execution: "x", WorkflowID: "w", ActivityType: "Build", ActivityID: "5", Attempt: 2}},
		{ID: "c1", Time: when, Origin: archive.Origin{Execution: "from a script"}},
	}}
	conflict.Between[0].Changed.Created, conflict.Between[0].Changed.Bytes = 1, 9
	err := ToTemporal(&At{URL: "s3://b/k", Err: fmt.Errorf("commit s3://b/k: %w", conflict)})
	fc := temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{DataConverter: converter.GetDefaultDataConverter()})
	failure := fc.ErrorToFailure(err)
	if failure.GetCause().GetCause() != nil {
		t.Errorf("the chain in the history is longer than it needs to be: %v", failure)
	}
	var app *temporal.ApplicationError
	if !errors.As(fc.FailureToError(failure), &app) {
		t.Fatal("no application error")
	}
	var details errtype.ConflictDetails
	if err := app.Details(&details); err != nil {
		t.Fatal(err)
	}
	if want := (errtype.ConflictDetails{URL: "s3://b/k", Want: "rev-1", Have: "rev-2", Further: 2, By: []errtype.CommitDetails{
		{CommitID: "c2", Time: when, Host: "h", WorkflowID: "w", ActivityType: "Build", ActivityID: "5", Attempt: 2, Created: 1, Bytes: 9},
		{CommitID: "c1", Time: when, Execution: "from a script"},
	}}); !reflect.DeepEqual(details, want) {
		t.Errorf("details are %+v, want %+v", details, want)
	}
	if c := failure.GetCause(); c.GetApplicationFailureInfo().GetType() != "" || c.GetMessage() != store.ErrConflict.Error() {
		t.Errorf("the cause in the history is %v, want the condition alone", c)
	}
	if want := fmt.Sprintf("%s (type: workdir.Conflict, retryable: true): %v", app.Message(), store.ErrConflict); app.Error() != want {
		t.Errorf("Temporal shows %q, want %q", app, want)
	}
	if app.Type() != errtype.Conflict || app.NonRetryable() || !strings.Contains(app.Message(), "rev-1") || !strings.Contains(app.Message(), `workflow "w", activity "Build"`) {
		t.Errorf("got %v", app)
	}
}
