package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
)

// activities are those that are measured, by the benchmarks' names.
var activities = []struct{ bench, name string }{
	{"plain", "nothing, without a workspace"},
	{"touch", "nothing, in a workspace"},
	{"append", "append a line, which is stored"},
}

// measureActivities writes what a workspace adds to the time of a Temporal activity.
func measureActivities(ctx context.Context, c config, b *strings.Builder) error {
	figures, err := runGoBenchmarks(ctx, filepath.Join(c.module, "integration"), "./temporal", "Activity", 300)
	if err != nil {
		return err
	}
	renderActivities(b, figures)
	return nil
}

func renderActivities(b *strings.Builder, figures goBenchmarks) {
	b.WriteString("## Temporal activities\n\nFrom the schedule to the completion, by the clock of a Temporal server on this machine, with a local store; 300 activities one after the other, in milliseconds. The overhead is that of the median, over the activity without a workspace. In `integration/`: `go test ./temporal -run '^$' -bench Activity -benchtime 300x`\n\n")
	b.WriteString("| the activity does | median | 99 of 100 | overhead |\n|---|---:|---:|---:|\n")
	base := figures["BenchmarkActivity/plain"]
	for _, a := range activities {
		r := figures["BenchmarkActivity/"+a.bench]
		fmt.Fprintf(b, "| %s | %.1f | %.1f | %.1f |\n", a.name, r["p50-ms"], r["p99-ms"], r["p50-ms"]-base["p50-ms"])
	}
	b.WriteString("\n")
}
