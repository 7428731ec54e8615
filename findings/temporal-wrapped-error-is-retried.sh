#!/usr/bin/env bash
# An activity that returns temporal.NewNonRetryableApplicationError is not tried again.
# One would expect the same of fmt.Errorf("commit: %w", err) around it: this is how Go
# code adds context, and the SDK's own IsApplicationError sees through the wrapper. Its
# failure converter does not. The wrapper becomes an application error of type
# "wrapError" that may be retried, with the true error as its cause, and only the
# outermost error decides about a retry. For the same reason the inner type's name in
# NonRetryableErrorTypes does not help.
# Seen with go.temporal.io/sdk v1.50.0, in its workflow test environment.
# It matters to anyone who lets a store's conflict end an activity for good: with one
# word of context around the error, the activity is repeated until its policy ends.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

cat >main.go <<'EOF_GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
)

var attempts int

func Plain(context.Context) error {
	attempts++
	return temporal.NewNonRetryableApplicationError("lost", "Conflict", nil)
}

func Wrapped(ctx context.Context) error {
	return fmt.Errorf("commit: %w", Plain(ctx))
}

func show(name string, activity any) {
	attempts = 0
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterActivity(activity)
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute,
			RetryPolicy:         &temporal.RetryPolicy{MaximumAttempts: 5, NonRetryableErrorTypes: []string{"Conflict"}},
		})
		return workflow.ExecuteActivity(ctx, activity).Get(ctx, nil)
	})
	fmt.Printf("%s: attempts %d", name, attempts)
	for err := env.GetWorkflowError(); err != nil; err = errors.Unwrap(err) {
		if app, ok := err.(*temporal.ApplicationError); ok {
			fmt.Printf(", %s non-retryable %t", app.Type(), app.NonRetryable())
		}
	}
	fmt.Println()
}

func main() {
	fmt.Println("looks through wrapping:", temporal.IsApplicationError(Wrapped(context.Background())))
	show("plain", Plain)
	show("wrapped", Wrapped)
}
EOF_GO
printf 'module finding\n\ngo 1.26\n\nrequire go.temporal.io/sdk v1.50.0\n' >go.mod
go mod tidy
seen=$(go run .)
echo "$seen"
[ "$seen" = 'looks through wrapping: true
plain: attempts 1, Conflict non-retryable true
wrapped: attempts 5, wrapError non-retryable false, Conflict non-retryable true' ] || {
	echo "different from what is stated" >&2
	exit 1
}
