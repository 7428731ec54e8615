package store

import (
	"fmt"
	"strings"
	"time"

	"github.com/workdir/workdir/archive"
)

// MaxBetween is how many commits a ConflictError has: they go into a workflow's
// history with it, where failures of more than a few KiB are cut.
const MaxBetween = 5

// setBetween notes the commits of log, the log of the archive that is there now, which
// came after e.Opened. Where the log does not have that one, because the archive was
// replaced or the log has forgotten it, only the newest is known to be one of them.
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

// between says who committed, for the message; "" where that is not known.
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

// shownName is how many bytes of a name a message shows; those who commit choose names.
const shownName = 100

// committer describes one commit: which, by what work, from where, when, how much.
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
