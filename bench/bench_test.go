package main

import (
	"encoding/xml"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []float64
		want float64
	}{
		{"one", []float64{3}, 3},
		{"odd", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 2, 9}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := median(test.in); got != test.want {
				t.Errorf("median(%v) = %v, want %v", test.in, got, test.want)
			}
		})
	}
}

func TestRatioIsOfRounds(t *testing.T) {
	if got := ratio([]float64{10, 40, 90}, []float64{10, 10, 10}); got != "4.00" {
		t.Errorf("ratio = %s, want 4.00", got)
	}
	if got := ratio([]float64{0}, []float64{1}); got != "–" {
		t.Errorf("ratio of nothing = %s, want a dash", got)
	}
}

func TestProcessFiles(t *testing.T) {
	const stat = "7 (a b) c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 100 1 1"
	if got, err := statTime(stat); err != nil || got != 3 {
		t.Errorf("statTime = %v, %v, want 3 seconds", got, err)
	}
	if _, err := statTime("7 (x) S 1"); err == nil {
		t.Error("statTime takes a line that is too short")
	}
	if got, err := statusBytes("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n", "VmHWM"); err != nil || got != 2<<20 {
		t.Errorf("statusBytes = %v, %v, want 2 MiB", got, err)
	}
	if _, err := statusBytes("Name:\tx\n", "VmHWM"); err == nil {
		t.Error("statusBytes takes a process without memory")
	}
}

// A process that ends while it is watched is remembered as it was last seen.
func TestWatch(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := watch(cmd.Process.Pid, os.Getpid())
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	own, err := processUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := w.end(); got.memory <= own.memory {
		t.Errorf("peak of both = %d bytes, want more than the %d of one", got.memory, own.memory)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	table(&b, results{names: []string{"a", "b"}, samples: map[string][]sample{
		"a": {{commit: 1, archive: 10 << 20}}, "b": {{commit: 5, archive: 20 << 20}},
	}})
	for _, want := range []string{
		"| | a | b | b ÷ a |\n|---|---:|---:|---:|\n",
		"| commit | 1.00 s | 5.00 s | 5.00 |\n",
		"| archive | 10 MiB | 20 MiB | 2.00 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table has no %q:\n%s", want, b.String())
		}
	}
}

func TestSpreadLeavesOutWhatFailed(t *testing.T) {
	for _, test := range []struct {
		name string
		in   []float64
		want string
	}{
		{"nothing", nil, "–"},
		{"failed", []float64{math.NaN()}, "–"},
		{"one", []float64{math.NaN(), 2}, "2.00"},
		{"several", []float64{4, 12.5, 1}, "4.00 (1.00–12.5)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := spread(test.in); got != test.want {
				t.Errorf("spread(%v) = %s, want %s", test.in, got, test.want)
			}
		})
	}
	if got := quotients([]float64{6, math.NaN(), 1, 3}, []float64{2, 1, math.NaN(), 0}); len(got) != 1 || got[0] != 3 {
		t.Errorf("quotients = %v, want [3]", got)
	}
}

// fio counts bytes and a rate for each side, and notes may come before the report.
func TestFioReport(t *testing.T) {
	const report = "note: x\n{\"jobs\": [{\"read\": {\"io_bytes\": 100, \"bw_bytes\": 50}, \"write\": {\"io_bytes\": 30, \"bw_bytes\": 10}}]}"
	if got, err := fioSeconds([]byte(report)); err != nil || got != 5 {
		t.Errorf("fioSeconds = %v, %v, want 5", got, err)
	}
	if _, err := fioSeconds([]byte("{}")); err == nil {
		t.Error("fioSeconds takes a report without a job")
	}
}

// A plot is well-formed, and marks what is not known.
func TestPlot(t *testing.T) {
	p := bars{title: "a & b", unit: "s", series: []place{{name: "x"}, {name: "y"}}, groups: []string{"one", "two"}}
	p.values = func(group, series string) float64 {
		if group == "two" && series == "y" {
			return math.NaN()
		}
		return 7
	}
	picture := p.svg()
	if err := xml.Unmarshal([]byte(picture), new(struct{})); err != nil {
		t.Fatalf("%v:\n%s", err, picture)
	}
	if bars, missing := strings.Count(picture, ">7.00<"), strings.Count(picture, ">–<"); bars != 3 || missing != 1 {
		t.Errorf("%d bars and %d marks, want 3 and 1", bars, missing)
	}
}

func TestRenderMounts(t *testing.T) {
	res := mountResults{tasks: map[string]figures{}, trips: map[string]figures{}, memory: figures{"bindfs": {100}},
		views: map[string]string{"workdir, overlay": "overlay and fuse"}, failed: []string{"bindfs: tar x: broken"}}
	res.of("tar x")["tmpfs"] = []float64{2, 2}
	res.of("tar x")["disk"] = []float64{4, 8}
	res.of("tar x")["workdir, overlay"] = []float64{2, 4}
	figuresOf(res.trips, "tar x")["workdir, overlay"] = []float64{3, 3}
	var b strings.Builder
	plots := renderMounts(&b, res)
	if len(plots) != len(groups)+1 {
		t.Errorf("%d plots, want one for each group and one of memory", len(plots))
	}
	for _, want := range []string{
		"| tar x | 2.00 s | 3.00 (2.00–4.00) | 1.50 (1.00–2.00) | – |",
		"calls *overlay and fuse*, at the end of each round; no slower than the disk in 1 of 1 tasks",
		"| | workdir, overlay |\n|---|---:|\n| tar x | 3 |\n",
		"| bindfs | 100 |",
		"* bindfs: tar x: broken\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page has no %q:\n%s", want, b.String())
		}
	}
}

func TestGoBenchmarks(t *testing.T) {
	const out = "goos: linux\nBenchmarkMany/read-only-2 \t 1\t 12.5 ns/op\t 384.5 KiB/mount\t 2 files\nBenchmarkLoud-2 \tlevel=WARN msg=\"not now\"\n 300\t 7 ns/op\nPASS\nok x 1s\n"
	got := parseGoBenchmarks(out)
	if r := got["BenchmarkMany/read-only"]; len(got) != 2 || r["KiB/mount"] != 384.5 || r["files"] != 2 || got["BenchmarkLoud"]["ns/op"] != 7 {
		t.Errorf("parseGoBenchmarks = %v", got)
	}
	var b strings.Builder
	renderServers(&b, goBenchmarks{"BenchmarkManyMounts/read-only": {"KiB/mount-rest": 285}}, goBenchmarks{"BenchmarkCommitSmall": {"disk-p50-ms": 1.6}})
	renderActivities(&b, goBenchmarks{"BenchmarkActivity/plain": {"p50-ms": 4}, "BenchmarkActivity/touch": {"p50-ms": 11.5}})
	for _, want := range []string{"| read-only, one revision | 0 | 0 | 285 |", "| disk alone | 1.6 | 0.0 |", "| nothing, in a workspace | 11.5 | 0.0 | 7.5 |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page has no %q:\n%s", want, b.String())
		}
	}
}

// Nobody waits for the answer to RELEASE or FORGET.
func TestRoundTrips(t *testing.T) {
	s := served{Requests: map[string]uint64{"LOOKUP": 2, "CREATE": 1, "RELEASE": 7, "RELEASEDIR": 7, "FORGET": 7, "BATCH_FORGET": 7}}
	if got := s.total(); got != 3 {
		t.Errorf("total = %d, want 3", got)
	}
}

// A server may have a child that does the work, which any of its threads may have started.
func TestMemoryOfChildren(t *testing.T) {
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	children, err := childrenOf("/proc/self")
	if err != nil || !slices.Contains(children, cmd.Process.Pid) {
		t.Errorf("childrenOf = %v, %v, want %d among them", children, err, cmd.Process.Pid)
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
