package store

import (
	"fmt"
	"strings"
	"time"

	"github.com/workdir/workdir/archive"
)

// MaxBetween is the maximum number of commits in a ConflictError: they go with it into a
// workflow's history, where failures of more than a few KiB are truncated.
const MaxBetween = 5

// setBetween records the commits of log, the current archive's log, that came after e.Opened.
// If the log does not have e.Opened, because the archive was replaced or the log has dropped
// that commit, only the newest commit is known to be later.
func (e *ConflictError) setBetween(log *archive.Log) {
	e.Between, e.Further = nil, 0
	found := e.Opened == ""
	for r := range log.All() {
		if r.ID == e.Opened {
			found = true
			break
		}
		if len(e.Between) == MaxBetween {
			e.Further++
			continue
		}
		r.Result, r.Root = nil, archive.RootAttr{}
		e.Between = append(e.Between, *r)
	}
	if !found && len(e.Between) > 0 {
		e.Between, e.Further = e.Between[:1], 0
	}
}

// between describes the commits for the message; "" if they are not known.
func (e *ConflictError) between() string {
	if len(e.Between) == 0 {
		return ""
	}
	s := ": " + committer(&e.Between[0])
	if more := len(e.Between) - 1 + e.Further; more > 0 {
		s += fmt.Sprintf(", and %d before it", more)
	}
	return s
}

// shownName is how many bytes of a name a message shows; names are chosen by committers.
const shownName = 100

// committer describes one commit: its id, the work, the host, the time and the amount of
// change.
func committer(r *archive.Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "commit %.8s", r.ID)
	o := &r.Origin
	var of []string
	add := func(what, name string) {
		if name != "" {
			of = append(of, fmt.Sprintf("%s %.*q", what, shownName, name))
		}
	}
	add("workflow", o.WorkflowID)
	add("activity", o.ActivityType)
	add("id", o.ActivityID)
	if len(of) == 0 {
		add("execution", o.Execution)
	}
	if o.Attempt > 0 {
		of = append(of, fmt.Sprintf("attempt %d", o.Attempt))
	}
	add("host", r.Host)
	if len(of) > 0 {
		fmt.Fprintf(&b, " by %s", strings.Join(of, ", "))
	}
	fmt.Fprintf(&b, " at %s changed %d entries", r.Time.UTC().Format(time.RFC3339), r.Changed.Total())
	return b.String()
}
