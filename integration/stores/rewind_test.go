package stores

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// A workspace that is rewound, because its workflow was reset, costs a second look, at the
// version, which is held against its name: one request more where a look is more than one. Its
// commit is one request, and one to keep what it replaces, as any other.
func TestRewindIsOneLookMore(t *testing.T) {
	began := time.Now()
	onEach(t, func(t *testing.T, s *Server) {
		bucket := newBucket(t, s)
		p, err := NewProxy(s, func(*http.Request) Fault { return None })
		noError(t, err)
		defer func() { noError(t, p.Close()) }()
		for _, v := range proxyEnv(s, p) {
			name, value, _ := strings.Cut(v, "=")
			t.Setenv(name, value)
		}
		url := s.urlAt(p.Address, bucket, "k")
		runDir := filepath.Join(filepath.Dir(workdirMount), "plain") // the session in it ends with this process
		var done []store.PastActivity
		cost := func(run string, past *store.Past, commit bool) int {
			before := p.Met()[None]
			origin := archive.Origin{Namespace: "ns", WorkflowID: "wf", RunID: run, ActivityID: fmt.Sprint(len(done)), Scheduled: began.Add(time.Duration(len(done)) * time.Second)}
			m, err := mount.Open(t.Context(), url, &mount.Options{Plain: true, RunDir: runDir, Keep: store.Keep{Last: 9}, Origin: origin, Rewind: past})
			noError(t, err)
			if commit {
				noError(t, os.WriteFile(m.Path("file"), []byte(origin.ActivityID), 0o644))
				noError(t, m.Commit())
				done = append(done, store.PastActivity{RunID: run, ActivityID: origin.ActivityID, Scheduled: origin.Scheduled})
			}
			_, err = m.Close(t.Context())
			noError(t, err)
			return p.Met()[None] - before
		}
		cost("A", nil, true)
		cost("A", nil, true)
		open, commit := cost("A", nil, false), cost("A", nil, true)
		past := &store.Past{Began: began, Ended: done[:2]}
		rewound, rewoundCommit := cost("B", past, false), cost("B", past, true)
		nothing := cost("B", past, false)
		if open != looks(s) || commit != open+2 || rewound != open+2*looks(s)-1 || rewoundCommit != rewound+2 || nothing != open {
			t.Errorf("an open is %d requests, a commit %d; rewound %d and %d; the next open %d", open, commit, rewound, rewoundCommit, nothing)
		}
	})
}
