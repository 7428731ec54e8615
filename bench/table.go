package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// row is one line of the table. In all of them less is better.
type row struct {
	title string
	value func(s sample) float64
	unit  string // "s", or "MiB" of a value in bytes
}

var rows = []row{
	{"open, until the first listing", func(s sample) float64 { return s.listed }, "s"},
	{"open, until everything was read", func(s sample) float64 { return s.read }, "s"},
	{"`cp -a` of the tree into it", func(s sample) float64 { return s.fill }, "s"},
	{"commit", func(s sample) float64 { return s.commit }, "s"},
	{"processor time to open", func(s sample) float64 { return s.openProcessor }, "s"},
	{"processor time to commit", func(s sample) float64 { return s.commitProcessor }, "s"},
	{"peak memory of open and reading", func(s sample) float64 { return float64(s.openMemory) }, "MiB"},
	{"peak memory of commit", func(s sample) float64 { return float64(s.commitMemory) }, "MiB"},
	{"content in memory, beside that", func(s sample) float64 { return float64(s.content) }, "MiB"},
	{"archive", func(s sample) float64 { return float64(s.archive) }, "MiB"},
}

// preamble is the beginning of the page.
func preamble() string {
	return "# Benchmarks\n\nMade by `make bench`. Ratios between things that took turns can be compared between machines; times cannot. " +
		"Where the load average at the end of this page is above the number of cores, other work had its part of the machine, and single ratios say little.\n\n"
}

// epilogue describes the machine and the programs.
func epilogue(c config) string {
	var b strings.Builder
	b.WriteString("\n## Measured on\n\n")
	for _, line := range machine(c) {
		fmt.Fprintf(&b, "* %s\n", line)
	}
	return b.String()
}

// renderArchives writes the table of opening and committing.
func renderArchives(b *strings.Builder, c config, res results) error {
	size, entries, err := measureTree(c.source)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "## Opening and committing\n\nA workspace of %d entries and %.0f MiB. Rounds in which all took turns: %d. The figures are medians, the ratios medians of the ratios of each round.\n\n",
		entries, float64(size)/(1<<20), res.rounds)
	table(b, res)
	b.WriteString("\nThe times of workdir include the start of its processes, and its commits are synced to disk; those of temporal-workdir do not include the start of Python. " +
		"workdir keeps the workspace in memory, the others on disk.\n\n")
	return nil
}

// table writes the medians, and ratios to the first contender.
func table(b *strings.Builder, res results) {
	ours := res.samples[res.names[0]]
	b.WriteString("| | " + strings.Join(res.names, " | "))
	for _, name := range res.names[1:] {
		fmt.Fprintf(b, " | %s ÷ %s", name, res.names[0])
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---:", 2*len(res.names)-1) + "|\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| %s", r.title)
		for _, name := range res.names {
			fmt.Fprintf(b, " | %s", r.format(median(r.values(res.samples[name]))))
		}
		for _, name := range res.names[1:] {
			fmt.Fprintf(b, " | %s", ratio(r.values(res.samples[name]), r.values(ours)))
		}
		b.WriteString(" |\n")
	}
}

func (r row) values(samples []sample) []float64 {
	out := make([]float64, 0, len(samples))
	for _, s := range samples {
		out = append(out, r.value(s))
	}
	return out
}

func (r row) format(v float64) string {
	if r.unit == "MiB" {
		return fmt.Sprintf("%.0f MiB", v/(1<<20))
	}
	return fmt.Sprintf("%.2f s", v)
}

// ratio is the median of the rounds' quotients; a dash if there is nothing to compare.
func ratio(theirs, ours []float64) string {
	var quotients []float64
	for i := range ours {
		if theirs[i] > 0 && ours[i] > 0 {
			quotients = append(quotients, theirs[i]/ours[i])
		}
	}
	if len(quotients) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", median(quotients))
}

// median of at least one value.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}

// measureTree returns the bytes in the files of a tree, and its entries.
func measureTree(dir string) (size int64, entries int, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		entries++
		info, err := d.Info()
		if err == nil && d.Type().IsRegular() {
			size += info.Size()
		}
		return err
	})
	return size, entries, err
}

// machine describes the machine and the software.
func machine(c config) []string {
	var uts unix.Utsname
	_ = unix.Uname(&uts) // fails only on a bad address
	return append([]string{
		fmt.Sprintf("%d cores, %s, Linux %s; load average when it was done %s", runtime.NumCPU(), processorModel(), unix.ByteSliceToString(uts.Release[:]), loadAverage()),
		versionLine(c.binary, "version"),
		"temporal-workdir " + versionLine(c.python, "-c", "import importlib.metadata as m; print(m.version('temporal-workdir'))") + ", " + versionLine(c.python, "--version"),
		versionLine("tar", "--version") + ", " + versionLine("pigz", "--version"),
	}, programs()...)
}

// loadAverage is that of the last 1, 5 and 15 minutes: on an otherwise idle machine it stays
// near the number of cores.
func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(b))
	if err != nil || len(fields) < 3 {
		return "not known"
	}
	return strings.Join(fields[:3], ", ")
}

func processorModel() string {
	b, _ := os.ReadFile("/proc/cpuinfo") // other architectures have no model in it
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

// versionLine is the first line with a digit in a program's output.
func versionLine(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.ContainsAny(line, "0123456789") {
			return strings.TrimSpace(line)
		}
	}
	return fmt.Sprintf("%s: %v", name, err)
}
