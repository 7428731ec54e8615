package integration

import (
	"os"
	"strings"
	"testing"
)

// exclusions gives the tests of a suite that testdata/exclusions.txt names, and
// why they are not run.
func exclusions(t *testing.T, suite string) map[string]string {
	t.Helper()
	b, err := os.ReadFile("testdata/exclusions.txt")
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(strings.TrimSpace(line), "\t", 3)
		if len(fields) != 3 || fields[2] == "" {
			t.Fatalf("testdata/exclusions.txt: %q is not a suite, a test and a reason, with tabs between", line)
		}
		if fields[0] == suite {
			reasons[fields[1]] = fields[2]
		}
	}
	return reasons
}
