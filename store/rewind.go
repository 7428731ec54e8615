package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/workdir/workdir/archive"
)

// Past is the history that a workflow run created by a reset shares with earlier runs: it
// begins with the first events of another run. It determines which commits in a log happened
// for this run, and which ones a reset has undone.
type Past struct {
	// Began is when the first of these runs was started, by the clock of Origin.Scheduled.
	// Work of the same workflow id that was scheduled before is of an earlier workflow.
	Began time.Time `json:"began"`
	// Ended are the activities that had ended, in any way, in the shared events.
	Ended []PastActivity `json:"ended,omitempty"`
}

// PastActivity is an activity as a workflow's history has it.
type PastActivity struct {
	RunID      string    `json:"runId"`
	ActivityID string    `json:"activityId"`
	Scheduled  time.Time `json:"scheduled"`
}

// key returns a in the form of logs, in which times have milliseconds.
func (a PastActivity) key() PastActivity {
	a.Scheduled = a.Scheduled.UTC().Truncate(time.Millisecond)
	return a
}

// Target returns the commit with the workspace as the run has left it, or archive.NoArchive;
// "" for the newest archive. log is that archive's, of is the work that opens it.
//
// A commit happened for the run if this run made it, or if its activity had ended in the
// events that the run began with. Any other commit of the same workflow since Began is undone.
// The target is the parent of the oldest undone commit after the newest one that happened, so
// that earlier commits of others stay.
//
// Errors: ErrRewind if the log does not show it, or if others have committed after an undone
// commit, since their work would be undone too.
func (p *Past) Target(of *archive.Origin, u URL, log *archive.Log) (archive.CommitID, error) {
	w := &rewinding{past: p, of: of, url: u, ended: make(map[PastActivity]bool, len(p.Ended))}
	for _, a := range p.Ended {
		w.ended[a.key()] = true
	}
	found, err := w.walk(log)
	switch {
	case err != nil:
		return "", err
	case !found && !log.ReachesBack(p.Began.Add(-ClockSkew)):
		return "", w.refuse("the log has forgotten commits since the workflow was started, and the last one that the run has from before its reset is not among those that are left", "")
	case w.undone == nil:
		return "", nil
	}
	target := w.undone.Parent
	if target == "" {
		target = w.undone.Opened
	}
	switch {
	case target == "":
		return "", w.refuse(fmt.Sprintf("what commit %.8s, the first that the reset has undone, was made on is not known: a release before that was recorded made it", w.undone.ID), "")
	case w.undone.Parent != "" && !log.Has(target):
		return "", w.refuse(fmt.Sprintf("the log does not have commit %.8s, on which the first that the reset has undone was made", target), "")
	}
	return w.among(target)
}

// rewinding is one search for a target.
type rewinding struct {
	past   *Past
	of     *archive.Origin
	url    URL
	ended  map[PastActivity]bool
	newer  []*archive.Record // newest first, down to undone
	undone *archive.Record   // the oldest that the reset has undone; nil for none
}

// fate is the status of a commit for the run.
type fate int

const (
	ofOthers fate = iota // not work of the workflow
	happened             // the run made it, or has it in its past
	undone               // the reset has undone it
	doubtful             // unknown
)

// walk looks for the newest commit that happened, and collects the later ones.
func (w *rewinding) walk(log *archive.Log) (found bool, err error) {
	var after []*archive.Record
	for r := range log.All() {
		switch w.fateOf(r) {
		case happened:
			return true, nil
		case doubtful:
			return false, w.refuse(fmt.Sprintf("commit %.8s of this workflow does not say when its activity was scheduled: a local activity, or an earlier release, has made it", r.ID), "")
		case undone:
			after = append(after, r)
			w.undone, w.newer = r, after
		case ofOthers:
			after = append(after, r)
		}
	}
	return false, nil
}

func (w *rewinding) fateOf(r *archive.Record) fate {
	o := &r.Origin
	switch {
	case o.WorkflowID != w.of.WorkflowID || o.Namespace != w.of.Namespace:
		return ofOthers
	case o.RunID == w.of.RunID:
		return happened
	case o.Scheduled.IsZero() && r.Time.Before(w.past.Began.Add(-ClockSkew)):
		return ofOthers
	case o.Scheduled.IsZero():
		return doubtful
	case o.Scheduled.Before(w.past.Began.Truncate(time.Millisecond)):
		return ofOthers
	case w.ended[PastActivity{o.RunID, o.ActivityID, o.Scheduled}.key()]:
		return happened
	}
	return undone
}

// among returns target unless others have committed since the first undone commit. Where they
// have rolled the workspace back to it, and nothing is undone since, the newest archive is
// meant.
func (w *rewinding) among(target archive.CommitID) (archive.CommitID, error) {
	undoneSince := false
	var first *archive.Record // the newest commit of others
	for _, r := range w.newer {
		if w.fateOf(r) == undone {
			undoneSince = true
			continue
		}
		if r.Restored == string(target) && !undoneSince {
			return "", nil
		}
		if first == nil {
			first = r
		}
	}
	if first != nil {
		return "", w.refuse(fmt.Sprintf("%s came after work of this workflow that the reset has undone, and would be undone with it", committer(first)), target)
	}
	return target, nil
}

// refuse is the error if the workspace cannot be rewound. target is the commit to return to;
// "" if unknown.
func (w *rewinding) refuse(why string, target archive.CommitID) error {
	e := &Error{Op: "rewind", Object: w.url.Redacted(), Kind: ErrRewind, Cause: errors.New(why)}
	switch target {
	case "":
		e.Todo = "look at \"workdir-mount log\", and start a new workflow on the state that is meant"
	case archive.NoArchive:
		e.Todo = "look at \"workdir-mount log\", and delete the workspace if the run is to begin with an empty one"
	default:
		e.Todo = fmt.Sprintf("look at \"workdir-mount log\"; \"workdir-mount rollback URL %s\" makes the state before them the present one, from which the run goes on", target.Short())
	}
	return e
}
