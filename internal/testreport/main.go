// Command testreport reads the output of "go test -json" and prints it for people: the output
// of failed tests, a line for each package, and the totals. It exits with 1 if anything failed
// or was skipped, or if no test ran at all.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of test2json's output, see "go doc test2json".
type event struct {
	Action  string
	Package string
	Test    string
	Elapsed float64 // seconds
	Output  string
}

// report sums up a run.
type report struct {
	out                     io.Writer
	output                  map[string][]string // by package and test, of those that have not passed
	passed, failed, skipped int
	broken                  []string // packages that failed, for example to build
}

func main() {
	r := &report{out: os.Stdout, output: map[string][]string{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	os.Exit(r.finish())
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(r.out, line) // not of a test: a build error
		return
	}
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "pass", "fail", "skip":
		r.end(e, key)
	}
}

// end is the end of a test or, without a name, of a package.
func (r *report) end(e event, key string) {
	if e.Test == "" {
		r.endPackage(e)
		return
	}
	switch e.Action {
	case "pass":
		r.passed++
	case "fail":
		r.failed++
		fmt.Fprint(r.out, strings.Join(r.output[key], ""))
	case "skip":
		r.skipped++
		fmt.Fprint(r.out, strings.Join(r.output[key], ""))
	}
	delete(r.output, key)
}

func (r *report) endPackage(e event) {
	word := map[string]string{"pass": "ok  ", "fail": "FAIL", "skip": "-   "}[e.Action]
	fmt.Fprintf(r.out, "%s\t%s\t%.1fs\n", word, e.Package, e.Elapsed)
	if e.Action != "fail" {
		return
	}
	r.broken = append(r.broken, e.Package)
	var keys []string
	for k := range r.output { // tests that never ended: a panic or a timeout
		if strings.HasPrefix(k, e.Package+"\x00") {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprint(r.out, strings.Join(r.output[k], ""))
	}
}

func (r *report) finish() int {
	for _, p := range r.broken {
		fmt.Fprintln(r.out, "failed:", p)
	}
	if r.skipped > 0 {
		fmt.Fprintln(r.out, "skipped tests count as failures")
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	if r.failed > 0 || r.skipped > 0 || len(r.broken) > 0 || r.passed == 0 {
		return 1
	}
	return 0
}
