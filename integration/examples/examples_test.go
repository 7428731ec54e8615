package examples

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/integration/stores"
)

// Each example runs with the one command that its README names, and comes to the
// outcome that it promises.
func TestExamples(t *testing.T) {
	for _, example := range []struct {
		name string
		want []string // lines, or parts of them, in this order
	}{
		{"hello", []string{"hello, world\nhello, workspace\n", "hello-1", "1 modified"}},
		{"pipeline", []string{"net/http,", "plot.svg"}},
		{"buildfarm", []string{"s2/cmd/s2c ", " s2 compress", "s2/cmd/s2d ", " s2 decompress", "buildfarm/config", "buildfarm-1/s2/cmd/s2c"}},
		{"scratch", []string{"exit 1, stored false  median of 4 1 3 2: got 2, want 2.5", "exit 0, stored false  all as it should be"}},
		{"python", []string{"one: line 1, reported by attempt 2", "two: line 2, reported by attempt 2", "three: line 3, reported by attempt 2"}},
		{"typescript", []string{"one: line 1, reported by attempt 2", "two: line 2, reported by attempt 2", "three: line 3, reported by attempt 2"}},
	} {
		t.Run(example.name, func(t *testing.T) {
			wantInOrder(t, play(t, "examples/run.sh", nil, example.name), example.want...)
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
// by the same URLs.
func TestBesideAncestor(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		wantInOrder(t, play(t, "examples/run.sh", nil, "migrate"), takingTurns...)
	})
	t.Run("s3", func(t *testing.T) {
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
	})
}

// The second act of the demo: a workflow comes to its end although both of its
// workers are killed.
func TestDemo(t *testing.T) {
	command := filepath.Join(t.TempDir(), "workdir-mount")
	build := exec.Command("go", "build", "-o", command, "./cmd/workdir-mount")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out := play(t, "scripts/demo-temporal.sh", nil, command)
	wantInOrder(t, out, "compiled: kill -9", "uploaded what it had built: kill -9", "the workflow is done",
		"Fetch    attempt 1", "Build    attempt 3", "Deliver  attempt 1", "demo: all as it should be")
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
