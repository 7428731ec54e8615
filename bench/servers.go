package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// The server's cost of mounts is measured by the Go benchmarks of package mount, which can see
// inside; here they are only run and shown.

// ways are the numbers of mounts in one server, by the benchmarks' names.
var ways = []struct{ bench, name string }{
	{"memory", "read-write"},
	{"spill", "read-write, with a spill directory"},
	{"read-only", "read-only, one revision"},
}

// goBenchmarks are the figures of Go benchmarks: those of "Benchmark…/sub" by unit.
type goBenchmarks map[string]map[string]float64

// runGoBenchmarks runs benchmarks of a package, by its path in a module, n times each.
func runGoBenchmarks(ctx context.Context, module, pkg, pattern string, n int) (goBenchmarks, error) {
	cmd := exec.CommandContext(ctx, "go", "test", pkg, "-run", "^$", "-bench", pattern, "-benchtime", fmt.Sprintf("%dx", n))
	cmd.Dir, cmd.Stderr = module, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return parseGoBenchmarks(string(out)), nil
}

// parseGoBenchmarks reads lines "BenchmarkName/sub-2 1 12 ns/op 3 unit …". A log may
// have come between the name and the figures.
func parseGoBenchmarks(out string) goBenchmarks {
	all := goBenchmarks{}
	name := ""
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) > 0 && strings.HasPrefix(f[0], "Benchmark") {
			name, f = f[0], f[1:]
		}
		if len(f) < 3 || !isNumber(f[0]) || !isNumber(f[1]) || name == "" {
			continue
		}
		if i := strings.LastIndex(name, "-"); i > 0 {
			name = name[:i] // the number of processors
		}
		all[name] = map[string]float64{}
		for i := 1; i+1 < len(f); i += 2 {
			all[name][f[i+1]], _ = strconv.ParseFloat(f[i], 64) // 0 if it is not a number
		}
		name = ""
	}
	return all
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// measureServers writes the cost of many mounts in one server, and the time for opening and
// closing a small workspace.
func measureServers(ctx context.Context, c config, b *strings.Builder) error {
	many, err := runGoBenchmarks(ctx, c.module, "./mount", "ManyMounts", 1)
	if err != nil {
		return err
	}
	small, err := runGoBenchmarks(ctx, c.module, "./mount", "Small", 500)
	if err != nil {
		return err
	}
	renderServers(b, many, small)
	return nil
}

func renderServers(b *strings.Builder, many, small goBenchmarks) {
	b.WriteString("## Many mounts in one server\n\nWhat each of 200 mounts at once costs their one server, beyond its content: private memory, in KiB a mount, once it is open; after a file of 4 MiB was read and as much written in each of them; and when the server has been quiet for some seconds. The last column is all that is left, in KiB, when they are closed. `go test ./mount -run '^$' -bench ManyMounts -benchtime 1x`\n\n")
	b.WriteString("| | open | after use | at rest | files | threads in all | left |\n|---|---:|---:|---:|---:|---:|---:|\n")
	for _, w := range ways {
		r := many["BenchmarkManyMounts/"+w.bench]
		fmt.Fprintf(b, "| %s | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f |\n", w.name,
			r["KiB/mount-opened"], r["KiB/mount-used"], r["KiB/mount-rest"], r["files/mount"], r["threads"], r["KiB-left"])
	}
	b.WriteString("\nAll mounts of a server share its threads and its buffers.\n")
	b.WriteString("\n## Opening and closing a small workspace\n\nA workspace of 50 files of 4 KiB in a local directory, in a server that runs already, 500 times one after the other; in milliseconds. *Disk alone* replaces a file of the size of the archive and syncs it and its directory, which every commit must. `go test ./mount -run '^$' -bench Small -benchtime 500x`\n\n")
	b.WriteString("| | median | 99 of 100 |\n|---|---:|---:|\n")
	for _, row := range []struct{ name, bench, what string }{
		{"open", "OpenSmall/read-write", "open"},
		{"open, read-only", "OpenSmall/read-only", "open"},
		{"close, nothing to store", "OpenSmall/read-write", "close"},
		{"close and commit one changed file", "CommitSmall", "commit"},
		{"disk alone", "CommitSmall", "disk"},
	} {
		r := small["Benchmark"+row.bench]
		fmt.Fprintf(b, "| %s | %.1f | %.1f |\n", row.name, r[row.what+"-p50-ms"], r[row.what+"-p99-ms"])
	}
	b.WriteString("\n")
}
