package ui

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
)

// mounted opens a workspace in a plain directory, whose server is this process.
func (s *storeDir) mounted(name, runDir string, origin archive.Origin) *mount.Mount {
	s.t.Helper()
	m, err := mount.Open(s.t.Context(), s.url(name), &mount.Options{View: mount.ViewPlain, RunDir: runDir, Origin: origin})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if _, err := m.Close(context.WithoutCancel(s.t.Context())); err != nil {
			s.t.Error(err)
		}
	})
	return m
}

// TestMounts: the pages of mounts, and what has changed in one, name by name.
func TestMounts(t *testing.T) {
	before := mountPatience
	mountPatience = time.Minute
	t.Cleanup(func() { mountPatience = before })
	s := newStore(t)
	s.put("job", map[string]string{"a": "one", "old": "x"})
	runDir := filepath.Join(t.TempDir(), "run")
	m := s.mounted("job", runDir, archive.Origin{Execution: "x", WorkflowID: "orders<1>", RunID: "r1", Namespace: "default", WorkflowType: "Import", ActivityType: "Fetch", ActivityID: "7", Attempt: 2})
	for _, address := range []string{"file://" + s.dir, ""} {
		h, err := NewHandler(address, hostOfTest, &Options{RunDir: runDir, TemporalUI: "http://127.0.0.1:8233"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		list := mustGet(t, h, "/mounts")
		wants(t, list, m.Path(), "Import / Fetch", "orders&lt;1&gt;", "http://127.0.0.1:8233/namespaces/default/workflows/orders%3C1%3E/r1/history")
		if linked := strings.Contains(list, `href="/workspace?name=job"`); linked != (address != "") {
			t.Errorf("with the prefix %q: a link to the workspace: %t", address, linked)
		}
		page := liveLinks{}.link(target{View: viewMount, Path: m.Path()})
		wants(t, list, strings.ReplaceAll(page, "&", "&amp;"))
		if address != "" {
			wants(t, mustGet(t, h, page), "Nothing has changed")
			wants(t, mustGet(t, h, "/workspace?name=job"), "Mounted now", strings.ReplaceAll(page, "&", "&amp;"))
		}
		if err := os.WriteFile(m.Path(hostileName), []byte("12345"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(m.Path("old"), m.Path("new")); err != nil && address != "" {
			t.Fatal(err)
		}
		body := mustGet(t, h, page)
		wants(t, body, ">created</span>", "&lt;script&gt;", "5 B", "old → new", "attempt 2")
		if strings.Contains(body, "<script>alert") {
			t.Errorf("a name got through:\n%s", body)
		}
		for _, path := range []string{"/mount", "/mount?path=%2Fetc", "/mount?path=" + m.Path() + "%2F..", "/mount?path=" + m.Path() + "%2Fa"} {
			if status, _, _ := get(t, h, path); status != http.StatusNotFound {
				t.Errorf("%s: status %d", path, status)
			}
		}
	}
}

// hostileName is hostile as a name in a directory.
var hostileName = strings.ReplaceAll(hostile, "/", "∕")

// TestLongListOfChanges: a page shows the first of many.
func TestLongListOfChanges(t *testing.T) {
	s := newStore(t)
	runDir := filepath.Join(t.TempDir(), "run")
	m := s.mounted("job", runDir, archive.Origin{})
	for i := range changesOnPage + 1 {
		if err := os.WriteFile(m.Path(fmt.Sprintf("f%04d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	h := s.handler(&Options{RunDir: runDir})
	body := mustGet(t, h, liveLinks{}.link(target{View: viewMount, Path: m.Path()}))
	wants(t, body, "the first 500 paths, there are more", ">f0499<")
	if strings.Contains(body, ">f0500<") {
		t.Error("more are shown")
	}
}

// TestWithoutPrefix: there are mounts, and nothing else.
func TestWithoutPrefix(t *testing.T) {
	h, err := NewHandler("", hostOfTest, &Options{RunDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	wants(t, mustGet(t, h, "/"), "Nothing is mounted")
	if strings.Contains(mustGet(t, h, "/"), ">Workspaces<") {
		t.Error("there is a link to workspaces")
	}
	for _, path := range []string{"/workspace?name=x", "/tree?name=x", "/file?name=x", "/raw?name=x&path=y", "/diff?name=x", "/workflow?workflow=x"} {
		if status, _, _ := get(t, h, path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
}
