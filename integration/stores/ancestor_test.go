package stores

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// ancestorPython is the Python that has temporal-workdir and the clients of the
// clouds.
const ancestorPython = "../../build/_venv/bin/python"

// ancestorScript takes jobs, a line of JSON each: it opens workspaces by
// temporal-workdir, one after the other, runs a shell script in each, and has it
// stored. It answers with what the scripts printed. To begin anew for each job
// would take seconds, for all that it imports.
const ancestorScript = `
import asyncio, json, subprocess, sys, traceback
from temporal_workdir import Workspace

async def work(script, options, urls):
    printed = ""
    for url in urls:
        async with Workspace(url, **options) as ws:
            done = subprocess.run(["sh", "-euc", script], cwd=ws.path, check=True, stdout=subprocess.PIPE, text=True)
            printed += done.stdout
    return printed

for line in sys.stdin:
    answer = {}
    try:
        answer["printed"] = asyncio.run(work(**json.loads(line)))
    except Exception:
        answer["error"] = traceback.format_exc()
    print(json.dumps(answer), flush=True)
`

// ancestorJob is a line of what the script takes.
type ancestorJob struct {
	Script  string         `json:"script"`
	Options map[string]any `json:"options"`
	URLs    []string       `json:"urls"`
}

// ancestor is the Python temporal-workdir at work.
type ancestor struct {
	t   *testing.T
	in  *json.Encoder
	out *json.Decoder
}

func startAncestor(t *testing.T) *ancestor {
	t.Helper()
	cmd := exec.Command(ancestorPython, "-c", ancestorScript)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	noError(t, err)
	out, err := cmd.StdoutPipe()
	noError(t, err)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: run scripts/deps.sh test", err)
	}
	t.Cleanup(func() {
		noError(t, in.Close())
		noError(t, cmd.Wait())
	})
	return &ancestor{t, json.NewEncoder(in), json.NewDecoder(out)}
}

// on returns the same ancestor for another test.
func (a *ancestor) on(t *testing.T) *ancestor { return &ancestor{t, a.in, a.out} }

// work runs a shell script in workspaces, and returns what all of them printed.
func (a *ancestor) work(s *Server, script string, urls ...string) string {
	a.t.Helper()
	noError(a.t, a.in.Encode(ancestorJob{script, ancestorOptions(s), urls}))
	var answer struct{ Printed, Error string }
	noError(a.t, a.out.Decode(&answer))
	if answer.Error != "" {
		a.t.Fatalf("the ancestor: %s", answer.Error)
	}
	return answer.Printed
}

// ancestorOptions are what fsspec's clients want in order to find the server.
func ancestorOptions(s *Server) map[string]any {
	switch s.Kind {
	case S3:
		return map[string]any{"key": s3Key, "secret": s3Secret, "endpoint_url": "http://" + s.Address}
	case GS:
		return map[string]any{"token": "anon", "project": gsProject, "endpoint_url": "http://" + s.Address}
	}
	return map[string]any{"connection_string": azureConnection(s.Address)}
}

// schemes are the names of each cloud that both the ancestor and we know.
var schemes = map[Kind][]string{
	S3:    {"s3", "s3a"},
	GS:    {"gs", "gcs"},
	Azure: {"az", "abfs", "abfss"},
}

// withScheme is the URL of a workspace by another name of its cloud: as we take it,
// and as the ancestor does, which has no options in its URLs.
func withScheme(s *Server, scheme, bucket, key string) (ours, theirs string) {
	theirs = scheme + "://" + bucket + "/" + key
	_, query, found := strings.Cut(s.URL(bucket, key), "?")
	if !found {
		return theirs, theirs
	}
	return theirs + "?" + query, theirs
}

func TestAncestor(t *testing.T) {
	a := startAncestor(t)
	onEach(t, func(t *testing.T, s *Server) {
		t.Run("turns", func(t *testing.T) { testTurns(t, s, a.on(t)) })
		t.Run("odd keys", func(t *testing.T) { testOddKeys(t, s, a.on(t)) })
	})
}

// The ancestor and we take turns at one workspace.
func testTurns(t *testing.T, s *Server, a *ancestor) {
	bucket, d := newBucket(t, s), newDesk(t)
	for _, scheme := range schemes[s.Kind] {
		ours, theirs := withScheme(s, scheme, bucket, "jobs/"+scheme)
		a.work(s, "echo 1 >log; mkdir dir; echo in >dir/file", theirs)
		d.exec(ours, "echo 2 >>log; ln dir/file dir/link; chmod 755 dir/file")
		a.work(s, "echo 3 >>log; test -x dir/file; cmp dir/file dir/link", theirs)
		d.exec(ours, "echo 4 >>log")
		if got := a.work(s, "cat log; rm log dir/*", theirs); got != "1\n2\n3\n4\n" {
			t.Errorf("%s: what both wrote = %q", scheme, got)
		}
		d.refused(d.command("ls", strings.Replace(ours, "/"+scheme, "", 1)), 101, "no archive beneath it") // the ancestor has emptied the workspace
	}
}

// oddKeys are keys that somebody could decode, encode, clean or cut.
var oddKeys = []string{
	"with space", "a%20b", "100%", "a+b&c=d", "ü/ö", "x.tar.gz", ".hidden/.x", "semi;colon", "comma,at@",
	`quo"te'`, "tilde~", "emoji-🗄", "back\\slash", strings.Repeat("long/", 100) + "key",
}

// A URL is the same object for the ancestor and for us.
func testOddKeys(t *testing.T, s *Server, a *ancestor) {
	bucket, d := newBucket(t, s), newDesk(t)
	var ours, theirs, names []string
	for _, key := range oddKeys {
		if s.Kind == Azure && strings.Contains(key, "\\") {
			continue // Azure takes it for a slash, and we refuse it
		}
		o, th := withScheme(s, schemes[s.Kind][0], bucket, key)
		ours, theirs, names = append(ours, o), append(theirs, th), append(names, key+".tar.gz")
	}
	a.work(s, "echo theirs >log", theirs...)
	for i, url := range ours {
		if got := d.exec(url, "cat log; echo ours >>log"); got != "theirs\n" {
			t.Errorf("%q: what the ancestor stored = %q", names[i], got)
		}
	}
	if got, want := a.work(s, "cat log", theirs...), strings.Repeat("theirs\nours\n", len(names)); got != want {
		t.Errorf("what both wrote = %q", got)
	}
	got, err := s.client.names(t.Context(), bucket)
	noError(t, err)
	slices.Sort(got)
	slices.Sort(names)
	if !slices.Equal(got, names) {
		t.Errorf("objects = %q, want %q", got, names)
	}
}
