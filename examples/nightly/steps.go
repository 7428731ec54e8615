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

	"github.com/workdir/workdir/mount"
)

// Nightly is the workflow; its result is the list of the slowest tests.
func Nightly(ctx workflow.Context, source, plot string) (slowest string, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: 10 * time.Minute,
		HeartbeatTimeout:    3 * time.Second, // so long it takes until a killed worker is missed
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 100 * time.Millisecond, BackoffCoefficient: 1},
	})
	for _, step := range []struct {
		name   string
		args   []any
		result any
	}{
		{"Fetch", []any{source}, nil},
		{"Build", nil, nil},
		{"Test", nil, nil},
		{"Report", nil, &slowest},
		{"Plot", nil, nil},
		{"Deliver", []any{plot}, nil},
	} {
		if err := workflow.ExecuteActivity(ctx, step.name, step.args...).Get(ctx, step.result); err != nil {
			return "", err
		}
	}
	return slowest, nil
}

// none is the argument or the result of a step that has none.
type none = struct{}

// Fetch unpacks the source tree, which is all that is in one directory of the
// archive, to src.
func Fetch(_ context.Context, ws *mount.Mount, source string) (none, error) {
	z, err := zip.OpenReader(source)
	if err != nil {
		return none{}, err
	}
	defer z.Close()
	mods, err := fs.Glob(z, "*/*/*/go.mod")
	if err != nil || len(mods) != 1 {
		return none{}, fmt.Errorf("%s: %d modules, want one: %w", source, len(mods), err)
	}
	src, err := fs.Sub(z, mods[0][:len(mods[0])-len("/go.mod")])
	if err != nil {
		return none{}, err
	}
	if err := os.RemoveAll(ws.Path("src")); err != nil {
		return none{}, err
	}
	return none{}, os.CopyFS(ws.Path("src"), src)
}

// packages are what is built and tested.
const packages = "./fse ./gzip ./huff0 ./zlib"

// Build compiles; the build cache is in the workspace too, so that the next step
// finds everything built, wherever it runs.
func Build(ctx context.Context, ws *mount.Mount, _ none) (none, error) {
	_, err := sh(ctx, ws, "cd src; go build "+packages)
	return none{}, err
}

// Test leaves the tests' events in test.json.
func Test(ctx context.Context, ws *mount.Mount, _ none) (none, error) {
	_, err := sh(ctx, ws, "cd src; go test -json "+packages+" >../test.json")
	return none{}, err
}

// Report makes report.db of test.json, and gives the slowest tests.
func Report(ctx context.Context, ws *mount.Mount, _ none) (string, error) {
	return sh(ctx, ws, `rm -f report.db; sqlite3 -separator '  ' report.db "
		CREATE TABLE tests AS
		SELECT replace(value->>'Package', 'github.com/klauspost/compress/', '') AS package, value->>'Test' AS test, value->>'Elapsed' AS seconds
		FROM json_each('[' || replace(rtrim(CAST(readfile('test.json') AS TEXT), char(10)), char(10), ',') || ']')
		WHERE value->>'Action' = 'pass' AND value->>'Test' NOT LIKE '%/%';
		SELECT printf('  %5.2f s', seconds), package, test FROM tests ORDER BY seconds DESC, package, test LIMIT 5"`)
}

// Plot draws report.svg of report.db.
func Plot(ctx context.Context, ws *mount.Mount, _ none) (none, error) {
	_, err := sh(ctx, ws, `gnuplot <<-'END'
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
	return none{}, err
}

// Deliver copies the plot out of the workspace.
func Deliver(_ context.Context, ws *mount.Mount, to string) (none, error) {
	b, err := os.ReadFile(ws.Path("report.svg"))
	if err != nil {
		return none{}, err
	}
	return none{}, os.WriteFile(to, b, 0o644)
}

// sh runs a shell script in the workspace. Go builds with a cache in it, and
// without a network.
func sh(ctx context.Context, ws *mount.Mount, script string) (string, error) {
	cmd := mount.Command(ctx, ws, "sh", "-euc", script)
	cmd.Env = append(os.Environ(), "GOCACHE="+ws.Path("gocache"), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", script, err, exit.Stderr)
	}
	return string(out), err
}
