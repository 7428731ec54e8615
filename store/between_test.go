package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// A conflict once named only two revisions, and not whose work had come in between.
func TestConflictNamesTheCommits(t *testing.T) {
	work := func(n int64) archive.Record {
		return archive.Record{
			ID: archive.NewCommitID(), Time: time.Date(2026, 5, 17, 12, 0, int(n), 0, time.UTC), Host: "h1", Changed: fs.Changes{Modified: n}, Result: []byte("secret"),
			Origin: archive.Origin{WorkflowID: "order-7", ActivityType: "Build", ActivityID: "5", Attempt: 2},
		}
	}
	var records []archive.Record
	var log *archive.Log
	for n := range int64(10) {
		records = append(records, work(n))
		log = log.Next(records[n])
	}
	bare := archive.Record{ID: archive.NewCommitID(), Time: records[0].Time}
	hostile := bare
	hostile.Host = "\x1b[2J" + strings.Repeat("x", 5000)
	tests := []struct {
		name         string
		log          *archive.Log
		opened       archive.CommitID
		between      []archive.Record
		further      int
		text, notice string
	}{
		{"one", log, records[8].ID, records[9:], 0, `: commit ` + string(records[9].ID[:8]) + ` by workflow "order-7", activity "Build", id "5", attempt 2, host "h1" at 2026-05-17T12:00:09Z changed 9 entries; open`, ""},
		{"two", log, records[7].ID, records[8:], 0, "changed 9 entries, and 1 before it; open", ""},
		{"more than are listed", log, records[0].ID, records[5:], 4, "changed 9 entries, and 8 before it; open", ""},
		{"nothing was opened", log, "", records[5:], 5, "changed 9 entries, and 9 before it; open", ""},
		{"an archive that was begun anew", log, archive.NewCommitID(), records[9:], 0, "changed 9 entries; open", ""},
		{"the commit that was opened", log, records[9].ID, nil, 0, "the store has b); open", ""},
		{"no log", nil, records[0].ID, nil, 0, "the store has b); open", ""},
		{"a lost log", archive.LostLog(), records[0].ID, nil, 0, "the store has b); open", ""},
		{"of nobody", (*archive.Log)(nil).Next(bare), "", []archive.Record{bare}, 0, ": commit " + string(bare.ID[:8]) + " at 2026", ""},
		{"a hostile name", (*archive.Log)(nil).Next(hostile), "", []archive.Record{hostile}, 0, `host "\x1b[2Jxxx`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := &store.ConflictError{Want: "a", Have: "b", Opened: tt.opened}
			e.SetBetween(tt.log)
			if len(e.Between) != len(tt.between) || e.Further != tt.further {
				t.Fatalf("%d commits and %d further, want %d and %d", len(e.Between), e.Further, len(tt.between), tt.further)
			}
			for i, r := range e.Between {
				want := tt.between[len(tt.between)-1-i]
				if r.ID != want.ID || r.Host != want.Host || r.Result != nil {
					t.Errorf("commit %d is %+v, want %+v without its result", i, r, want)
				}
			}
			if s := e.Error(); !strings.Contains(s, tt.text) || len(s) > 500 {
				t.Errorf("%q is not in %q", tt.text, s)
			}
		})
	}
}
