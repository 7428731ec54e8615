package main

import (
	"os"
	"os/exec"
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
	if got, err := statusPeak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"); err != nil || got != 2<<20 {
		t.Errorf("statusPeak = %v, %v, want 2 MiB", got, err)
	}
	if _, err := statusPeak("Name:\tx\n"); err == nil {
		t.Error("statusPeak takes a process without memory")
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
