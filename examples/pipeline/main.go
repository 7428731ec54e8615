// Pipeline makes a chart of a source tree: a CSV file of what is in it, a SQLite
// database of that, and a plot, by sqlite3 and gnuplot, which know nothing of
// workspaces. The activities do not either: the worker's plugin mounts one for
// each of them, and they ask for paths and tools in it.
package main

import (
	"context"
	"encoding/csv"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/examples/internal/play"
)

func main() { play.Main("pipeline", run) }

func run(s *play.Stage) error {
	if flag.NArg() != 2 {
		return fmt.Errorf("usage: pipeline [-store URL] DIRECTORY PLOT.svg")
	}
	plugin, err := wdactivity.NewPlugin(workspaces(s.Store))
	if err != nil {
		return err
	}
	w := worker.New(s.Client, s.Name, worker.Options{Plugins: []worker.Plugin{plugin}})
	w.RegisterWorkflow(Workflow)
	w.RegisterActivity(Measure)
	w.RegisterActivity(Load)
	w.RegisterActivity(Plot)
	w.RegisterActivity(Deliver)
	var top string
	if err := s.Run(w, &top, Workflow, flag.Arg(0), flag.Arg(1)); err != nil {
		return err
	}
	fmt.Print(top)
	return nil
}

// workspaces says what each activity is given: the workspace of its workflow, to
// change it, or to read it alone.
func workspaces(store string) *wdactivity.PluginOptions {
	url := store + "/{workflow_id}"
	return &wdactivity.PluginOptions{Rules: []wdactivity.Rule{
		{Activity: Deliver, URL: url, Options: wdactivity.Options{ReadOnly: true}},
		{Activity: "*", URL: url, Options: wdactivity.Options{AutoCommit: true}},
	}}
}

// Workflow runs the steps, one after the other, each on whatever worker.
func Workflow(ctx workflow.Context, source, to string) (top string, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: 10 * time.Second})
	for _, step := range []struct {
		activity any
		args     []any
		result   any
	}{
		{Measure, []any{source}, nil},
		{Load, nil, &top},
		{Plot, nil, nil},
		{Deliver, []any{to}, nil},
	} {
		if err := workflow.ExecuteActivity(ctx, step.activity, step.args...).Get(ctx, step.result); err != nil {
			return "", err
		}
	}
	return top, nil
}

// Measure writes files.csv: package, name, lines and bytes of each Go file.
func Measure(ctx context.Context, source string) (err error) {
	f, err := os.Create(wdactivity.Path(ctx, "files.csv"))
	if err != nil {
		return err
	}
	defer f.Close()
	out := csv.NewWriter(f)
	if err := out.Write([]string{"package", "name", "lines", "bytes"}); err != nil {
		return err
	}
	err = filepath.WalkDir(source, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".go" {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		pkg, err := filepath.Rel(source, filepath.Dir(p))
		if err != nil {
			return err
		}
		return out.Write([]string{pkg, d.Name(), strconv.Itoa(strings.Count(string(b), "\n")), strconv.Itoa(len(b))})
	})
	if err != nil {
		return err
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return err
	}
	return f.Close()
}

// Load creates files.db from files.csv, and returns the largest packages.
func Load(ctx context.Context) (top string, err error) {
	return play.Tool(wdactivity.Command(ctx, "sqlite3", "-csv", "files.db",
		"DROP TABLE IF EXISTS files",
		"DROP VIEW IF EXISTS packages",
		".import --csv files.csv files",
		"CREATE VIEW packages AS SELECT package, count(*) AS files, sum(lines) AS lines FROM files GROUP BY package",
		"SELECT package, files, lines FROM packages ORDER BY lines DESC LIMIT 10"))
}

// Plot draws packages.svg of files.db.
func Plot(ctx context.Context) error {
	const script = `
		set terminal svg size 900,500
		set output "packages.svg"
		set datafile separator "|"
		set title "the largest packages"
		set ylabel "lines"
		set xtics rotate by -35
		set style fill solid 0.6
		set boxwidth 0.8
		set yrange [0:*]
		plot "< sqlite3 files.db 'SELECT package, lines FROM packages ORDER BY lines DESC LIMIT 20'" using 2:xtic(1) with boxes notitle`
	cmd := wdactivity.Command(ctx, "gnuplot")
	cmd.Stdin = strings.NewReader(script)
	_, err := play.Tool(cmd)
	return err
}

// Deliver copies the plot out of the workspace. Its workspace is mounted
// read-only, see workspaces.
func Deliver(ctx context.Context, to string) error {
	b, err := os.ReadFile(wdactivity.Path(ctx, "packages.svg"))
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}
