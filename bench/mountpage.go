package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// plot is a picture and the file that it goes to.
type plot struct {
	file, svg string
}

// renderMounts writes the tables of all groups, and makes a plot of each.
func renderMounts(b *strings.Builder, res mountResults) []plot {
	fmt.Fprintf(b, "## A mount in use\n\n"+
		"Every task was done in every place in turn, in fresh places in each round; rounds: %d. The first column is the median time on a tmpfs; "+
		"the others are the median of the ratios to the tmpfs in the same round, with the lowest and the highest. Less is better.\n\n"+
		"The disk is where the temporary files of the machine are, with its page cache. bindfs, fuse-overlayfs and rclone have their files on a tmpfs; "+
		"rclone copies to it what was written, later. JuiceFS keeps names in SQLite and content in files there; go-fuse's loopback is that library's example. "+
		"The tree is Go's standard library without its tests; npm install unpacks ten of its packages from local tar files, with an empty cache, and go build makes the package sort with what it imports.\n", res.rounds)
	verdict(b, res)
	var plots []plot
	for _, g := range groups {
		fmt.Fprintf(b, "\n### %s\n\n", g.title)
		ratioTable(b, g, res)
		fmt.Fprintf(b, "\n![%s](bench/%s.svg)\n", g.title, g.file)
		plots = append(plots, plot{g.file + ".svg", ratioPlot(g, res)})
	}
	tripsTable(b, res)
	fmt.Fprintf(b, "\n### Memory for each file\n\nWhat the server's own memory grew by for each of %d empty files, in bytes, with what its allocator keeps in reserve.\n\n", manyFiles)
	memoryTable(b, res)
	b.WriteString("\n![Memory](bench/memory.svg)\n")
	plots = append(plots, plot{"memory.svg", memoryPlot(res)})
	if len(res.failed) > 0 {
		b.WriteString("\n### What did not work\n\n")
		for _, note := range res.failed {
			fmt.Fprintf(b, "* %s\n", note)
		}
	}
	return plots
}

// verdict names the servers, and says how often each of our views is at least as fast as the
// disk.
func verdict(b *strings.Builder, res mountResults) {
	b.WriteString("\nThe question: what does a tool lose, or gain, that works in a mounted workspace instead of in a plain directory?\n\n")
	for _, p := range places {
		view := res.views[p.name]
		if view == "" {
			continue
		}
		faster, all := 0, 0
		for _, g := range groups {
			for _, t := range g.tasks {
				if q := quotients(res.tasks[t.name][p.name], res.tasks[t.name]["disk"]); len(q) > 0 {
					all++
					if median(q) <= 1 {
						faster++
					}
				}
			}
		}
		fmt.Fprintf(b, "* %s: served by the view that its status calls *%s*, at the end of each round; no slower than the disk in %d of %d tasks\n", p.name, view, faster, all)
	}
}

// tripsTable writes the requests of the second run of each task.
func tripsTable(b *strings.Builder, res mountResults) {
	var names []string
	for _, p := range places {
		if res.views[p.name] != "" {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return
	}
	fmt.Fprintf(b, "\n### Round trips of the second run\n\nRequests that the server answered while a task was done once more, by its own count, without RELEASE and FORGET, for which nobody waits, and with those of the question itself. What only reads, reads the same again; what makes files makes others.\n\n| | %s |\n|---%s|\n",
		strings.Join(names, " | "), strings.Repeat("|---:", len(names)))
	for _, g := range groups {
		for _, t := range g.tasks {
			b.WriteString("| " + t.name)
			for _, name := range names {
				b.WriteString(" | " + count(res.trips[t.name][name]))
			}
			b.WriteString(" |\n")
		}
	}
}

func count(values []float64) string {
	v := known(values)
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf("%.0f", v)
}

func ratioTable(b *strings.Builder, g group, res mountResults) {
	names := placeNames()
	fmt.Fprintf(b, "| | %s |\n|---%s|\n", strings.Join(names, " | "), strings.Repeat("|---:", len(names)))
	for _, t := range g.tasks {
		f := res.tasks[t.name]
		fmt.Fprintf(b, "| %s | %s", t.name, inSeconds(f[names[0]]))
		for _, name := range names[1:] {
			b.WriteString(" | " + spread(quotients(f[name], f[names[0]])))
		}
		b.WriteString(" |\n")
	}
}

func ratioPlot(g group, res mountResults) string {
	p := bars{title: g.title, unit: "time as a multiple of tmpfs", series: places[1:]}
	for _, t := range g.tasks {
		p.groups = append(p.groups, t.name)
	}
	p.values = func(task, place string) float64 {
		return known(quotients(res.tasks[task][place], res.tasks[task][places[0].name]))
	}
	return p.svg()
}

func memoryTable(b *strings.Builder, res mountResults) {
	b.WriteString("| | bytes |\n|---|---:|\n")
	for _, p := range withServers(res) {
		fmt.Fprintf(b, "| %s | %s |\n", p.name, spread(res.memory[p.name]))
	}
}

func memoryPlot(res mountResults) string {
	p := bars{title: "Memory for each file", unit: "bytes", series: withServers(res), groups: []string{"an empty file"}}
	p.values = func(_, place string) float64 { return known(res.memory[place]) }
	return p.svg()
}

// withServers returns the places with a server.
func withServers(res mountResults) []place {
	return slices.DeleteFunc(slices.Clone(places), func(p place) bool { return len(res.memory[p.name]) == 0 })
}

func placeNames() []string {
	var names []string
	for _, p := range places {
		names = append(names, p.name)
	}
	return names
}

// quotients returns the quotients of the rounds in which both are known.
func quotients(values, by []float64) []float64 {
	var out []float64
	for i := range values {
		if q := values[i] / by[i]; !math.IsNaN(q) && !math.IsInf(q, 0) {
			out = append(out, q)
		}
	}
	return out
}

// known is the median of the values that are not NaN, or NaN.
func known(values []float64) float64 {
	v := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	if len(v) == 0 {
		return math.NaN()
	}
	return median(v)
}

// spread is the median, with the lowest and the highest.
func spread(values []float64) string {
	v := slices.DeleteFunc(slices.Clone(values), math.IsNaN)
	switch len(v) {
	case 0:
		return "–"
	case 1:
		return short(v[0])
	}
	return fmt.Sprintf("%s (%s–%s)", short(median(v)), short(slices.Min(v)), short(slices.Max(v)))
}

func inSeconds(values []float64) string {
	v := known(values)
	switch {
	case math.IsNaN(v):
		return "–"
	case v < 0.1:
		return fmt.Sprintf("%.1f ms", 1000*v)
	}
	return fmt.Sprintf("%.2f s", v)
}
