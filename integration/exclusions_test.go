package integration

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// exclusion is a line of testdata/exclusions.txt.
type exclusion struct{ suite, test, line, reason string }

func allExclusions(t *testing.T) []exclusion {
	t.Helper()
	b, err := os.ReadFile("testdata/exclusions.txt")
	must(t, err)
	var all []exclusion
	for text := range strings.Lines(string(b)) {
		if strings.HasPrefix(text, "#") {
			continue
		}
		fields := strings.SplitN(strings.TrimSpace(text), "\t", 4)
		if len(fields) != 4 || fields[3] == "" {
			t.Fatalf("testdata/exclusions.txt: %q is not a suite, a test, a line of docs/semantics.md and a reason, with tabs between", text)
		}
		all = append(all, exclusion{fields[0], fields[1], fields[2], fields[3]})
	}
	return all
}

// exclusions returns the tests of a suite that testdata/exclusions.txt names, and
// why they are not run.
func exclusions(t *testing.T, suite string) map[string]string {
	t.Helper()
	reasons := map[string]string{}
	for _, e := range allExclusions(t) {
		if e.suite == suite {
			reasons[e.test] = e.reason
		}
	}
	return reasons
}

// excluded reports whether testdata/exclusions.txt names a test of a suite, also by a pattern
// as of path.Match.
func (e *env) excluded(suite, test string) bool {
	e.t.Helper()
	for pattern := range exclusions(e.t, suite) {
		matches, err := path.Match(pattern, test)
		must(e.t, err)
		if matches {
			return true
		}
	}
	return false
}

// TestExclusionsAreDifferences holds whatever is left out, or fails, against the lines
// of docs/semantics.md, which TestSemantics probes: what a user may meet stands there,
// unless tmpfs does the same.
func TestExclusionsAreDifferences(t *testing.T) {
	lines := map[string]bool{}
	for _, d := range differences(t) {
		lines[d.name] = true
	}
	for _, e := range allExclusions(t) {
		if !lines[e.line] {
			t.Errorf("testdata/exclusions.txt: %s: docs/semantics.md has no line %s", e.test, e.line)
		}
	}
	rows := conformanceRows(t)
	if len(rows) == 0 {
		t.Fatal("docs/conformance.md has no tables of failures")
	}
	for _, row := range rows {
		if strings.Contains(row.tmpfs, "fail") {
			continue
		}
		named := false
		for _, name := range quoted.FindAllStringSubmatch(row.reason, -1) {
			named = named || lines[name[1]]
		}
		if !named {
			t.Errorf("docs/conformance.md: %s: %q names no line of docs/semantics.md", row.test, row.reason)
		}
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// failure is a row of the tables of suites that are run by hand.
type failure struct{ test, tmpfs, reason string }

// conformanceRows reads the tables of docs/conformance.md that end with a reason.
func conformanceRows(t *testing.T) (rows []failure) {
	t.Helper()
	b, err := os.ReadFile("../docs/conformance.md")
	must(t, err)
	tmpfs := -1 // the column of tmpfs; -1 outside of such a table
	for text := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(text), "|"), "|")
		switch last := strings.TrimSpace(cells[len(cells)-1]); {
		case len(cells) < 4:
			tmpfs = -1
		case last == "Reason":
			for i, head := range cells {
				if strings.HasSuffix(strings.TrimSpace(head), "tmpfs") {
					tmpfs = i
				}
			}
		case tmpfs >= 0 && !strings.HasPrefix(last, "---"):
			rows = append(rows, failure{strings.TrimSpace(cells[0]), cells[tmpfs], last})
		}
	}
	return rows
}
