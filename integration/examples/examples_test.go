package examples

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/integration/stores"
)

// outcomes are what the examples promise: lines, or parts of them, in this order.
var outcomes = map[string][]string{
	"library":    {"noted\n", "library-1", "1 created"},
	"hello":      {"hello, world\nhello, workspace\n", "hello-1", "1 modified"},
	"pipeline":   {"net/http,", "plot.svg"},
	"buildfarm":  {"s2/cmd/s2c ", " s2 compress", "s2/cmd/s2d ", " s2 decompress", "buildfarm/config", "buildfarm-1/s2/cmd/s2c"},
	"scratch":    {"exit 1, stored false  median of 4 1 3 2: got 2, want 2.5", "exit 0, stored false  all as it should be"},
	"python":     {"one: line 1, reported by attempt 2", "two: line 2, reported by attempt 2", "three: line 3, reported by attempt 2"},
	"typescript": {"one: line 1, reported by attempt 2", "two: line 2, reported by attempt 2", "three: line 3, reported by attempt 2"},
	"migrate":    takingTurns,
	"guide":      {"ok "},
	// The second act of the demo: the workflow ends although both of its workers are killed.
	"nightly": {"compiled: kill -9", "uploaded what it had built: kill -9", "the workflow is done",
		"Fetch    attempt 1", "Build    attempt 3", "Deliver  attempt 1", "demo: all as it should be"},
}

// Each example runs with the one command that its README names, and ends as it promises.
func TestExamples(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(outcomes)) {
		t.Run(name, func(t *testing.T) {
			wantInOrder(t, play(t, "examples/run.sh", nil, name), outcomes[name]...)
		})
	}
}

// takingTurns is what the activities of examples/migrate find.
var takingTurns = []string{
	"Note(first): 1\nnote_python(first): 2\nNote(second): 3\nnote_python(second): 4\nNote(third): 5\nnote_python(third): 6\n",
	"read_python(migrate-1): go: first\npython: first\ngo: second\npython: second\ngo: third\npython: third\n",
	"Read(migrate-1): go: first\npython: first\ngo: second\npython: second\ngo: third\npython: third\n",
	"Users(migrate-1): [ann bob]\nusers_python(migrate-1): []\n",
}

// Activities here and of the Python temporal-workdir take turns on one workspace,
// by the same URLs, on S3 as in files (the example migrate).
func TestBesideAncestor(t *testing.T) {
	s, err := stores.Start(t.Context(), stores.S3)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.MakeBucket(t.Context(), "bucket"); err != nil {
		t.Fatal(err)
	}
	// Both SDKs of AWS read these.
	env := append(s.Env(), "AWS_ENDPOINT_URL_S3=http://"+s.Address, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1")
	wantInOrder(t, play(t, "examples/run.sh", env, "migrate", "s3://bucket/team"), takingTurns...)
}

// wantInOrder requires texts, one behind the other.
func wantInOrder(t *testing.T, out string, texts ...string) {
	t.Helper()
	rest := out
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !found {
			t.Fatalf("%q is not there, or not in its place:\n%s", text, out)
		}
		rest = after
	}
}
