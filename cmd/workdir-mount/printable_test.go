package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/mount"
)

// The name of a workspace, of a process or of a host went to the terminal unescaped, with what
// turns letters around, or commands the terminal.
func TestHostileNamesAreEscaped(t *testing.T) {
	const hostile = "gpj\u202ename"
	dir := t.TempDir()
	archive := "file://" + filepath.Join(dir, hostile)
	runs := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		var out, err bytes.Buffer
		if code := run(args, &out, &err); code != want {
			t.Fatalf("%q: exit code %d: %s", args, code, &err)
		}
		return out.String(), err.String()
	}
	files := t.TempDir()
	if err := os.WriteFile(filepath.Join(files, hostile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, tt := range []struct {
		code int
		args []string
	}{
		{0, []string{"import", files, archive}},
		{0, []string{"ls", dir}},
		{0, []string{"ls", "-l", dir}},
		{0, []string{"stat", archive}},
		{0, []string{"tree", "-l", archive}},
		{0, []string{"log", archive}},
		{0, []string{"verify", archive}},
		{0, []string{"-v", "cp", archive, archive + "2"}},
		{exitUsage, []string{"cat", archive, hostile + "2"}},
		{exitStore, []string{"stat", archive + "3"}},
		{exitUsage, []string{"no\x1b[31msuch", archive}},
		{exitUsage, []string{"umount", filepath.Join(dir, "\x1b]0;title\a")}},
		{0, []string{"rm", archive + "2"}},
	} {
		out, err := runs(tt.code, tt.args...)
		if out+err == "" && tt.args[0] != "log" {
			t.Errorf("%q says nothing", tt.args)
		}
		all.WriteString(out + err)
	}
	if i := strings.IndexAny(all.String(), "\u202e\x1b\a"); i >= 0 {
		t.Errorf("printed as it is: %q", all.String()[max(0, i-100):i+10])
	}
	if n := strings.Count(all.String(), `gpj\u202ename`); n < 10 {
		t.Errorf("the name is shown %d times:\n%s", n, &all)
	}
	out, _ := runs(0, "ls", "--json", dir)
	var found []storedWorkspace
	if err := json.Unmarshal([]byte(out), &found); err != nil || len(found) != 1 || found[0].Name != hostile {
		t.Errorf("ls --json: %+v, %v; want the exact name", found, err)
	}
	if u, err := url.Parse(found[0].URL); err != nil || !strings.HasSuffix(u.Path, hostile) {
		t.Errorf("ls --json has the URL %q", found[0].URL)
	}
}

func TestHostileProcessNames(t *testing.T) {
	busy := &mount.BusyError{Path: "/m", Processes: []mount.Process{{PID: 1, Name: "x\nworkdir-mount: stored\x1b[2K", Use: "descriptor"}}}
	const want = `process 1 ("x\nworkdir-mount: stored\x1b[2K": descriptor)`
	for _, said := range []string{busy.Error(), processList(busy.Processes), busyAtEnd(&execFlags{}, busy).Error()} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, want %q in it", said, want)
		}
	}
	var log bytes.Buffer
	slog.New(&lineHandler{out: &log, level: slog.LevelInfo}).Info("a\x1b[31m", "name", "b\u202e")
	if got := log.String(); got != "workdir-mount: a\\x1b[31m (name=b\\u202e)\n" {
		t.Errorf("logged %q", got)
	}
}
