package stores

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/workdir/workdir/mount"
)

// onEachPlace runs a test on each store that outlives a process; url returns the workspace of
// a key.
func onEachPlace(t *testing.T, test func(t *testing.T, url func(key string) string)) {
	onEach(t, func(t *testing.T, s *Server) {
		bucket := newBucket(t, s)
		test(t, func(key string) string { return s.URL(bucket, key) })
		if left := litter(t, s, bucket); len(left) > 0 {
			t.Errorf("left in the bucket: %q", left)
		}
	})
	t.Run("file", func(t *testing.T) {
		dir := t.TempDir()
		test(t, func(key string) string { return "file://" + dir + "/" + key })
	})
}

// newRepository makes a git repository with a small Go program.
func newRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"go.mod":  "module hello\n\ngo 1.26\n",
		"main.go": "package main\n\nfunc main() { println(\"hello\") }\n",
	} {
		noError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
	}
	cmd := exec.Command("sh", "-euc", `git init -q . && git add . && git -c user.name=n -c user.email=e commit -qm first`)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

const (
	cloneAndBuild = `git clone -q "$1" src; cd src; go build -o hello .; ./hello 2>&1; head -c 9000000 /dev/urandom >big; sha256sum big >big.sum`
	lookAgain     = `cd src; ./hello 2>&1; git fsck --strict 2>&1 >/dev/null; git status --porcelain main.go; sha256sum --quiet -c big.sum; mkdir -p ../more/empty`
)

// The job that all is about: open, work with real tools, store, and go on from
// there.
func TestMainJob(t *testing.T) {
	repository := newRepository(t)
	onEachPlace(t, func(t *testing.T, url func(string) string) {
		d := newDesk(t)
		for i, script := range []string{cloneAndBuild, lookAgain, lookAgain} {
			if got := d.exec(url("jobs/job 1"), script, repository); got != "hello\n" {
				t.Errorf("run %d printed %q", i, got)
			}
		}
		d.exec(url("jobs/job-2"), "echo x >file")
		if got := d.must(d.command("ls", url("jobs"))); got != "job 1\njob-2\n" {
			t.Errorf("ls printed %q", got)
		}
		for _, key := range []string{"jobs/job 1", "jobs/job-2"} {
			d.must(d.command("rm", url(key)))
		}
		d.refused(d.command("ls", url("jobs")), 101, "no archive beneath it")
	})
}

// What is in mem lasts as long as the program.
func TestMainJobInMemory(t *testing.T) {
	repository, url := newRepository(t), "mem://bucket/jobs/job 1"
	runDir := filepath.Join(filepath.Dir(workdirMount), "run") // the session in it ends with this process
	for i, script := range []string{cloneAndBuild, lookAgain, lookAgain} {
		m, err := mount.Open(t.Context(), url, &mount.Options{RunDir: runDir})
		noError(t, err)
		out, err := mount.Command(t.Context(), m, "sh", "-euc", script, "sh", repository).Output()
		if err != nil || string(out) != "hello\n" {
			t.Errorf("run %d printed %q, %v", i, out, err)
		}
		noError(t, m.Commit())
		_, err = m.Close(t.Context())
		noError(t, err)
	}
}

// Of two who changed the same revision, the second is told.
func TestConflictOfTwo(t *testing.T) {
	onEachPlace(t, func(t *testing.T, url func(string) string) {
		d := newDesk(t)
		for _, key := range []string{"new", "old"} {
			if key == "old" {
				d.exec(url(key), "echo base >file")
			}
			nested := d.execCommand(url(key), `echo first >file`)
			script := `echo second >file; "$@"`
			d.refused(d.execCommand(url(key), script, nested.Args...), 104, "conflict", "open the workspace again")
			if got := d.exec(url(key), "cat file"); got != "first\n" {
				t.Errorf("%s: content = %q", key, got)
			}
		}
	})
}

// gate lets everything through but the request that makes a workspace's archive
// visible, which waits until the test says what becomes of it.
type gate struct {
	key     string // of the workspace
	reached chan struct{}
	pass    chan Fault
	closed  atomic.Bool // it has held one request back, and holds no other
}

func newGate(key string) *gate {
	return &gate{key: key, reached: make(chan struct{}), pass: make(chan Fault)}
}

func (g *gate) choose(r *http.Request) Fault {
	if !g.isCommit(r) || g.closed.Swap(true) {
		return None
	}
	close(g.reached)
	return <-g.pass
}

// isCommit knows the request that makes an archive visible where it is a small
// one: a PUT of S3 and Azure, a POST of Google, whose body has the name.
func (g *gate) isCommit(r *http.Request) bool {
	if r.Method != http.MethodPut && r.Method != http.MethodPost {
		return false
	}
	body, _ := io.ReadAll(r.Body) // in memory
	name := g.key + ".tar.gz"
	return strings.Contains(r.URL.Path, name) || bytes.Contains(body, []byte(name))
}

// serverPID prints, in a mount, the process of its server.
const serverPID = `"$1" --run-dir "$2" status --json "$WORKDIR"`

// Whichever process is killed while the request is in flight, the workspace is the old one or
// the new one.
func TestKillDuringCommit(t *testing.T) {
	for _, tc := range []struct {
		victim string
		fate   Fault // of the request, after the kill
		want   string
	}{
		{"client", LoseRequest, "old\n"},
		{"client", None, "new\n"},
		{"server", LoseRequest, "old\n"},
		{"server", None, "new\n"},
	} {
		t.Run(tc.victim+" "+string(tc.fate), func(t *testing.T) {
			onEach(t, func(t *testing.T, s *Server) { killDuringCommit(t, s, tc.victim, tc.fate, tc.want) })
		})
	}
}

func killDuringCommit(t *testing.T, s *Server, victim string, fate Fault, want string) {
	bucket, d := newBucket(t, s), newDesk(t)
	url := s.URL(bucket, "job")
	d.exec(url, "echo old >file")
	g := newGate("job")
	p, err := NewProxy(s, g.choose)
	noError(t, err)
	d.env = proxyEnv(s, p)
	cmd := d.execCommand(s.urlAt(p.Address, bucket, "job"), "echo new >file; "+serverPID, workdirMount, d.runDir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	noError(t, cmd.Start())
	<-g.reached
	pid := cmd.Process.Pid
	if victim == "server" {
		pid = serverOf(t, stdout.Bytes())
	}
	noError(t, syscall.Kill(pid, syscall.SIGKILL))
	_ = cmd.Wait() // by a signal, or with the code that is looked at here
	if code := exitCode(cmd); victim == "server" && code != 107 {
		t.Errorf("exit code %d, want 107: %s", code, stderr.String())
	}
	g.pass <- fate
	p.Settle()
	noError(t, p.Close())
	d.env = nil
	if got := d.exec(url, "cat file"); got != want {
		t.Errorf("content = %q, want %q", got, want)
	}
}

// proxyEnv leads programs to the proxy instead of its server.
func proxyEnv(s *Server, p *Proxy) []string {
	if s.Kind == GS {
		return []string{"STORAGE_EMULATOR_HOST=" + p.Address}
	}
	return nil
}

func serverOf(t *testing.T, status []byte) int {
	t.Helper()
	var parsed struct {
		ServerPID int `json:"serverPid"`
	}
	noError(t, json.Unmarshal(status, &parsed))
	return parsed.ServerPID
}
