package main

import (
	"bytes"
	"log/slog"
	"testing"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount"
)

func TestByteSize(t *testing.T) {
	tests := []struct {
		in   string
		want int64 // 0: refused
	}{
		{"1", 1},
		{"4096", 4096},
		{"4096b", 4096},
		{"64MiB", 64 << 20},
		{"64mib", 64 << 20},
		{"64 MiB", 64 << 20},
		{"64M", 64 << 20},
		{"64MB", 64e6},
		{"2G", 2 << 30},
		{"7T", 7 << 40},
		{"8388607TiB", 8388607 << 40},
		{"8388608TiB", 0},
		{"9223372036854775807", 1<<63 - 1},
		{"9223372036854775808", 0},
		{"", 0},
		{"0", 0},
		{"-1", 0},
		{"MiB", 0},
		{"1.5G", 0},
		{"64X", 0},
		{"0x10", 0},
	}
	for _, test := range tests {
		t.Run(test.in, func(t *testing.T) {
			var got byteSize
			err := got.Set(test.in)
			if int64(got) != test.want || (err != nil) != (test.want == 0) {
				t.Errorf("%q is %d, %v; want %d", test.in, got, err, test.want)
			}
		})
	}
}

func TestOutcome(t *testing.T) {
	one, twelve := fs.Changes{Modified: 1}, fs.Changes{Created: 4, Modified: 5, Removed: 3}
	tests := []struct {
		name string
		in   mount.Result
		want string
	}{
		{"stored", mount.Result{Stored: true, Changes: twelve, Size: 3565158, Revision: "r1", Marked: true}, "stored 12 changed files, 3.4 MiB archive, revision r1"},
		{"stored one", mount.Result{Stored: true, Changes: one, Size: 100, Revision: "r1", Marked: true}, "stored 1 changed file, 100 B archive, revision r1"},
		{"deleted", mount.Result{Deleted: true, Changes: twelve, Marked: true}, "the workspace is empty: its archive is deleted"},
		{"discarded", mount.Result{Changes: twelve}, "12 files changed, not committed: discarded"},
		{"discarded one", mount.Result{Changes: one}, "1 file changed, not committed: discarded"},
		{"unchanged", mount.Result{Marked: true}, "nothing changed"},
		{"empty and never stored", mount.Result{Changes: one, Marked: true}, "the workspace is empty: there is nothing to store"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := outcome(test.in); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestLogLines(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(&lineHandler{out: &out, level: slog.LevelInfo})
	log.Debug("not shown")
	log.Info("mounted")
	log.Warn("left out", "path", "a b", "n", 2)
	log.With("pid", 7).WithGroup("g").Error("lost", slog.Group("h", "k", "v"), slog.Attr{})
	const want = "workdir-mount: mounted\n" +
		"workdir-mount: warning: left out (path=a b, n=2)\n" +
		"workdir-mount: error: lost (pid=7, g.h.k=v)\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// Of a mount whose owner was stopped the list said that its work will be discarded, though
// it was marked.
func TestAtUnmount(t *testing.T) {
	for want, st := range map[string]mount.Status{
		"not known":               {State: mount.StateSilent},
		"nothing (read-only)":     {State: "mounted", ReadOnly: true},
		"discard (abandoned)":     {State: "mounted", Marked: true, Abandoned: true},
		"store":                   {State: "mounted", Marked: true},
		"discard (not committed)": {State: "mounted"},
	} {
		if got := atUnmount(st); got != want {
			t.Errorf("%+v: %q, want %q", st, got, want)
		}
	}
}
