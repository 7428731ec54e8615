package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/workdir/workdir/archive"
)

// largestWrite keeps the size of the largest write.
type largestWrite struct{ n int }

func (w *largestWrite) Write(p []byte) (int, error) {
	w.n = max(w.n, len(p))
	return len(p), nil
}

// A thousand commits that take over one long text are much more than their log: they
// were all written at once, and took gigabytes.
func TestLongLogIsWrittenCommitByCommit(t *testing.T) {
	const long = 60_000
	var log *archive.Log
	for range 500 {
		log = log.Next(archive.Record{
			ID: archive.NewCommitID(), Time: time.Unix(1_700_000_000, 0),
			Host:   strings.Repeat("h", 100),
			Origin: archive.Origin{Execution: strings.Repeat("é", long/2)},
		})
	}
	var largest largestWrite
	r, w := io.Pipe()
	go func() {
		err := printCommitsJSON(io.MultiWriter(w, &largest), workspaceLog{URL: "file:///w", Revision: "r"}, commitsOf(log, 0))
		_ = w.CloseWithError(err)
	}()
	var got struct {
		URL      string
		Revision string
		Commits  []struct{ Origin archive.Origin }
	}
	if err := json.NewDecoder(r).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.URL != "file:///w" || got.Revision != "r" || len(got.Commits) != 500 || len(got.Commits[499].Origin.Execution) != long {
		t.Errorf("%d commits of %q are written", len(got.Commits), got.URL)
	}
	if largest.n > 2*long {
		t.Errorf("%d bytes are written at once", largest.n)
	}
	var lines strings.Builder
	if err := printCommits(&lines, commitsOf(log, 3)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(lines.String()) {
		if utf8.RuneCountInString(line) > 200 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
	if n := strings.Count(lines.String(), "\n"); n != 3 {
		t.Errorf("%d lines are written, want 3", n)
	}
}

// A commit on a workspace that was rewound says from where, and to what.
func TestLogOfARewoundWorkspace(t *testing.T) {
	from, to := archive.CommitID(strings.Repeat("a", 32)), archive.CommitID(strings.Repeat("b", 32))
	tests := []struct {
		name           string
		parent, opened archive.CommitID
		want           string
	}{
		{"rewound", from, to, "rewound from aaaaaaaa to bbbbbbbb"},
		{"to before there was an archive", from, archive.NoArchive, "rewound from aaaaaaaa to before the first commit"},
		{"on its parent", from, "", ""},
		{"the first commit", "", archive.NoArchive, ""},
		{"on another program's archive", "", "ffffffff" + to[:24], ""},
	}
	for _, test := range tests {
		c := newLoggedCommit(&archive.Record{ID: archive.NewCommitID(), Parent: test.parent, Opened: test.opened})
		if got := c.said(); got != test.want || (c.RewoundTo != "") != (test.want != "") {
			t.Errorf("%s: %q, rewound to %q; want %q", test.name, got, c.RewoundTo, test.want)
		}
	}
}
