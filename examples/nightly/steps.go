package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
)

// Nightly is the workflow; its result is the list of the slowest tests.
func Nightly(ctx workflow.Context, source, plot string) (slowest string, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 10 * time.Minute,
		HeartbeatTimeout:    3 * time.Second, // how soon a killed worker is noticed
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 1},
	})
	var s *Steps
	for _, step := range []struct {
		activity any
		args     []any
		result   any
	}{
		{s.Fetch, []any{source}, nil},
		{s.Build, nil, nil},
		{s.Test, nil, nil},
		{s.Report, nil, &slowest},
		{s.Plot, nil, nil},
		{s.Deliver, []any{plot}, nil},
	} {
		if err := workflow.ExecuteActivity(ctx, step.activity, step.args...).Get(ctx, step.result); err != nil {
			return "", err
		}
	}
	return slowest, nil
}

// Steps are the activities.
type Steps struct{}

// Fetch unpacks the source tree, which is all that is in one directory of the
// archive, to src.
func (*Steps) Fetch(ctx context.Context, source string) error {
	z, err := zip.OpenReader(source)
	if err != nil {
		return err
	}
	defer z.Close()
	mods, err := fs.Glob(z, "*/*/*/go.mod")
	if err != nil || len(mods) != 1 {
		return fmt.Errorf("%s: %d modules, want one: %w", source, len(mods), err)
	}
	src, err := fs.Sub(z, mods[0][:len(mods[0])-len("/go.mod")])
	if err != nil {
		return err
	}
	if err := os.RemoveAll(wdactivity.Path(ctx, "src")); err != nil {
		return err
	}
	return os.CopyFS(wdactivity.Path(ctx, "src"), src)
}

// packages are what is built and tested.
const packages = "./fse ./gzip ./huff0 ./zlib"

// Build compiles; the build cache is in the workspace too, so that the next step
// finds everything built, wherever it runs.
func (*Steps) Build(ctx context.Context) error {
	_, err := sh(ctx, "cd src; go build "+packages)
	return err
}

// Test leaves the tests' events in test.json.
func (*Steps) Test(ctx context.Context) error {
	_, err := sh(ctx, "cd src; go test -json "+packages+" >../test.json")
	return err
}

// Report makes report.db of test.json, and returns the slowest tests.
func (*Steps) Report(ctx context.Context) (string, error) {
	return sh(ctx, `rm -f report.db; sqlite3 -separator '  ' report.db "
		CREATE TABLE tests AS
		SELECT replace(value->>'Package', 'github.com/klauspost/compress/', '') AS package, value->>'Test' AS test, value->>'Elapsed' AS seconds
		FROM json_each('[' || replace(rtrim(CAST(readfile('test.json') AS TEXT), char(10)), char(10), ',') || ']')
		WHERE value->>'Action' = 'pass' AND value->>'Test' NOT LIKE '%/%';
		SELECT printf('  %5.2f s', seconds), package, test FROM tests ORDER BY seconds DESC, package, test LIMIT 5"`)
}

// Plot draws report.svg of report.db.
func (*Steps) Plot(ctx context.Context) error {
	_, err := sh(ctx, `gnuplot <<-'END'
		set terminal svg size 900,500
		set output "report.svg"
		set title "the slowest tests"
		set ylabel "seconds"
		set datafile separator "|"
		set xtics rotate by -35
		set style fill solid 0.6
		set boxwidth 0.8
		set yrange [0:*]
		plot "< sqlite3 report.db 'SELECT test, seconds FROM tests ORDER BY seconds DESC LIMIT 15'" using 2:xtic(1) with boxes notitle
	END`)
	return err
}

// Deliver copies the plot out of the workspace.
func (*Steps) Deliver(ctx context.Context, to string) error {
	b, err := os.ReadFile(wdactivity.Path(ctx, "report.svg"))
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// sh runs a shell script in the workspace. Go builds with a cache in it, and
// without a network.
func sh(ctx context.Context, script string) (string, error) {
	cmd := wdactivity.Command(ctx, "sh", "-euc", script)
	cmd.Env = append(cmd.Env, "GOCACHE="+wdactivity.Path(ctx, "gocache"), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", script, err, exit.Stderr)
	}
	return string(out), err
}
