// Package browser_test holds the pages of package ui against a real browser.
package browser_test

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/integration/internal/browser"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/ui"
)

// hostile is a name or a text that becomes an element where it is not escaped; it fits into
// a path.
const hostile = `"'><script>alert(1)<∕script><img src=x onerror=alert(2)>{{.}}`

// markup is hostile with a slash.
var markup = strings.ReplaceAll(hostile, "∕", "/")

// site is the pages of some workspaces, one of them mounted, in a browser.
type site struct {
	*testing.T
	*browser.Browser
	dir   string // of the workspaces
	base  string // address, without a slash at its end
	token string // address with the token
	live  *mount.Mount
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, runDir := t.TempDir(), filepath.Join(t.TempDir(), "run")
	s := &site{T: t, dir: dir}
	s.fill(dir, runDir)
	s.live = s.open("file://"+dir+"/job", runDir, work(3))
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	s.must(err)
	h, err := ui.NewHandler("file://"+dir, l.Addr().String(), &ui.Options{RunDir: runDir, TemporalUI: "http://127.0.0.1:8233"})
	s.must(err)
	server := &http.Server{Handler: h}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	t.Cleanup(func() {
		s.must(server.Close())
		<-ended
		h.Close()
	})
	s.base, s.token = "http://"+l.Addr().String(), h.URL()
	s.Browser, err = browser.Start(t.Context(), 1100, 700)
	s.must(err)
	t.Cleanup(s.Browser.Close)
	s.run(chromedp.Navigate(s.token))
	return s
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// patience bounds what a browser does at once.
const patience = time.Minute

// run runs actions.
func (s *site) run(actions ...chromedp.Action) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Ctx, patience)
	defer cancel()
	s.must(chromedp.Run(ctx, actions...))
}

// work is an origin with hostile names.
func work(attempt int32) archive.Origin {
	return archive.Origin{
		Execution: "e", Namespace: "default", WorkflowID: "order " + markup, RunID: "run-1", WorkflowType: "Import" + hostile,
		ActivityType: "Fetch", ActivityID: "5", Attempt: attempt, Scheduled: time.Now().Add(-time.Minute),
	}
}

func (s *site) open(url, runDir string, origin archive.Origin) *mount.Mount {
	s.Helper()
	origin.Step = time.Now().String() // none is another's
	m, err := mount.Open(s.Context(), url, &mount.Options{
		View: mount.ViewPlain, RunDir: runDir, Origin: origin, Keep: store.Keep{Last: 10}, Command: "make " + markup,
	})
	s.must(err)
	s.Cleanup(func() { _, _ = m.Close(context.WithoutCancel(s.Context())) }) // perhaps again
	return m
}

// fill stores a workspace with something of each kind in two commits, and one in a group.
func (s *site) fill(dir, runDir string) {
	s.Helper()
	files := map[string]string{
		"text.txt": "one\ntwo\nthree\n" + markup + "\n", hostile: markup, "table.csv": "name," + markup + "\na,1\n",
		"binary": "a\x00b", "empty": "", "page.html": markup, "picture.svg": "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(3)'/>",
		"picture.png": picture(s.T), "data.db": s.database(), "turned\u202e": "\u202e", "deep/er/file": strings.Repeat("a long line ", 1000),
	}
	m := s.open("file://"+dir+"/job", runDir, work(1))
	s.write(m, files)
	s.commit(m, "the first "+markup)
	m = s.open("file://"+dir+"/job", runDir, work(2))
	s.must(os.Remove(m.Path("binary")))
	s.write(m, map[string]string{"text.txt": "one\n2\nthree\n" + markup + "\nfour\n", "new" + hostile: "new\n"})
	s.commit(m, "")
	m = s.open("file://"+dir+"/group/inner", runDir, archive.Origin{})
	s.write(m, map[string]string{"f": "x"})
	s.commit(m, "")
}

func (s *site) write(m *mount.Mount, files map[string]string) {
	s.Helper()
	for name, text := range files {
		s.must(os.MkdirAll(filepath.Dir(m.Path(name)), 0o755))
		s.must(os.WriteFile(m.Path(name), []byte(text), 0o644))
	}
}

func (s *site) commit(m *mount.Mount, message string) {
	s.Helper()
	s.must(m.SetMessage(message))
	s.must(m.Commit())
	_, err := m.Close(s.Context())
	s.must(err)
}

func picture(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 40, 20))); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (s *site) database() string {
	s.Helper()
	path := filepath.Join(s.TempDir(), "db")
	out, err := exec.Command("sqlite3", path, "create table people(id integer primary key, name text); create table \"<b>x\"(y);").CombinedOutput()
	if err != nil {
		s.Fatalf("sqlite3: %v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	s.must(err)
	return string(b)
}
