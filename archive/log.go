package archive

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/workdir/workdir/fs"
)

// MaxLog is how many commits before the last one a log remembers.
const MaxLog = 1000

// CommitID identifies one commit: 16 random bytes in lower-case hex.
type CommitID string

// NewCommitID makes an id that no other commit has.
func NewCommitID() CommitID {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return CommitID(hex.EncodeToString(b[:]))
}

const idBytes = 16

// shownID is how many digits of an id are shown: enough to distinguish those of a log.
const shownID = 8

// Short is the beginning of an id for people, the shortest that a URL takes as a version: one
// with a letter.
func (id CommitID) Short() string {
	n := min(shownID, len(id))
	if letter := strings.IndexAny(string(id), "abcdef"); letter >= n {
		n = letter + 1
	}
	return string(id[:n])
}

// noID stands where there is no commit to name.
const noID = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// bytes returns the 16 bytes of id.
func (id CommitID) bytes() ([]byte, error) {
	b, err := hex.DecodeString(string(id))
	if err != nil || len(b) != idBytes || hex.EncodeToString(b) != string(id) || string(b) == noID {
		return nil, fmt.Errorf("commit id %q: not %d bytes in lower-case hex", string(id), idBytes)
	}
	return b, nil
}

// commitIDOf is the reverse of bytes, "" for noID.
func commitIDOf(b string) CommitID {
	if b == noID {
		return ""
	}
	return CommitID(hex.EncodeToString([]byte(b)))
}

// RootAttr is what a tree's root directory has, for which the tar part has no
// entry. A zero Mode means that nothing is known of it.
type RootAttr struct {
	Mode     uint32 // S_IFMT and permission bits
	UID, GID uint32
	Mtime    fs.Time
	Xattrs   map[string][]byte // user.* only
}

// Changes sums up what a commit changed.
type Changes = fs.Changes

// Record tells of one commit.
type Record struct {
	ID      CommitID
	Parent  CommitID  // the commit that was opened; "" for the first
	Time    time.Time // never before the parent's
	Tool    string    // program and version that committed
	Host    string
	Changed Changes
	Origin  Origin

	Message  string // what the one who committed says of it
	Command  string // the line of the command that was run in the workspace
	Restored string // id of the commit whose state this one brings back; "" for a commit of work

	Result  []byte   // what the work gave, for whoever tries it again; nil for nothing, else at most MaxResult bytes
	Dropped bool     // there was a Result, and it is not kept any more
	Root    RootAttr // the Writer takes it from the tree
}

// MaxMessage is how long a Message or Command should be at most, bytes: the texts of a
// record have a limit together.
const MaxMessage = 8 << 10

// Log is the record of the commit that made an archive, and those of the commits
// before it: the last MaxLog, without their Root. Logs share what they hold, and
// nobody may change a Result that came from one.
type Log struct {
	Record  Record
	past    past
	results []result // of past commits, newest first
	err     error    // why a past commit cannot be stored
	lost    bool     // there are commits, and nobody knows which
}

// LostLog stands for a log that cannot be read. It has no commits and reaches back to
// no time, and a commit upon it begins a new log with a parent that nobody knows.
func LostLog() *Log { return &Log{lost: true} }

// Lost reports whether l is LostLog.
func (l *Log) Lost() bool { return l != nil && l.lost }

// Next returns the log of the commit rec on top of l; l may be nil and is left as
// it is. rec's parent becomes l's commit. Clocks of hosts differ, so rec's time
// becomes its parent's where it would be earlier; StoredAt comes first. The oldest
// results go until MaxResults holds.
func (l *Log) Next(rec Record) *Log {
	switch {
	case l == nil:
		rec.Parent = ""
		return &Log{Record: rec}
	case l.lost:
		rec.Parent = NewCommitID()
		return &Log{Record: rec}
	}
	rec.Parent = l.Record.ID
	if rec.Time.Before(l.Record.Time) {
		rec.Time = l.Record.Time
	}
	next := &Log{Record: rec, err: l.err}
	if next.err == nil {
		next.past, next.err = l.past.push(&l.Record)
	}
	next.results = l.keepResults(MaxResults-len(rec.Result), next.past.len())
	return next
}

// Len is the count of the commits that l tells of, the last one included. A nil
// or lost log has none.
func (l *Log) Len() int {
	if l == nil || l.lost {
		return 0
	}
	return 1 + l.past.len()
}

// All returns the commits in l, newest first. A nil or lost log has none.
func (l *Log) All() iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		if l.Len() == 0 {
			return
		}
		last := l.Record
		if !yield(&last) {
			return
		}
		// What is not sound was refused when the log was read.
		_ = l.past.each(func(i int, row *Record) bool { return yield(l.pastRecord(i, row)) })
	}
}

// pastRecord makes a record of its own of the row of commit i.
func (l *Log) pastRecord(i int, row *Record) *Record {
	r := *row
	r.ID, r.Parent = l.past.id(i), l.past.id(i+1)
	r.Result = l.resultOf(i)
	r.Dropped = row.Dropped && r.Result == nil
	return &r
}

// Find returns the newest commit of a step; nil if there is none, or l is nil or lost. Where
// no commit has both the names and the time of the step, it is the newest with these
// names for which one of the two times is not known: releases before the time was
// recorded left it out, and their commits can be told by theirs alone.
func (l *Log) Find(step StepID) *Record {
	if l.Len() == 0 {
		return nil
	}
	var exact, likely *Record
	look := func(r *Record, own func() *Record) (goOn bool) {
		id, ok := r.Origin.StepID()
		switch {
		case !ok || !id.mayBe(step):
		case id.scheduled == step.scheduled || step.scheduled == 0:
			exact = own()
		case likely == nil:
			likely = own()
		}
		return exact == nil
	}
	last := l.Record
	if look(&last, func() *Record { return &last }) {
		_ = l.past.each(func(i int, row *Record) bool {
			return look(row, func() *Record { return l.pastRecord(i, row) })
		})
	}
	if exact != nil {
		return exact
	}
	return likely
}

// ReachesBack reports whether every commit since t is in the log: it begins with a
// first commit, or has one that is older than t, since those that it has forgotten
// came before. A nil log, of an archive that another tool wrote, reaches back for
// ever: it counts as no commit. Times are those of the hosts that committed, or of
// the store (StoredAt), and as right as their clocks.
func (l *Log) ReachesBack(t time.Time) bool {
	switch {
	case l == nil:
		return true
	case l.lost:
		return false
	}
	parent := l.Record.Parent
	if n := l.past.len(); n > 0 {
		parent = l.past.id(n)
	}
	return parent == "" || l.Earliest().Time.Before(t)
}

// Earliest returns the commit with the earliest time, the oldest of them; nil where l
// is nil or lost.
func (l *Log) Earliest() (first *Record) {
	for r := range l.All() {
		if first == nil || !r.Time.After(first.Time) {
			first = r
		}
	}
	return first
}

// farAhead is how much later than its archive was stored a commit can be by its own
// time, before the clock of its host is taken for one that is ahead.
const farAhead = time.Minute

// noneBefore is a time before which no archive with a log was stored: what says so
// tells of a file system or a tool that keeps no times.
var noneBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// StoredAt returns the log of an archive that was stored at t by the store's clock.
// A last commit that is far ahead of t gets t for a time, so that one host whose clock
// is ahead does not make the time of all commits to come. l is left as it is.
func (l *Log) StoredAt(t time.Time) *Log {
	if l.Len() == 0 || t.Before(noneBefore) || !l.Record.Time.After(t.Add(farAhead)) {
		return l
	}
	stored := *l
	stored.Record.Time = t.UTC()
	return &stored
}

// Has reports whether the commit id made the archive or is among those before it.
// A nil or lost log has none.
func (l *Log) Has(id CommitID) bool {
	if l.Len() == 0 {
		return false
	}
	return l.Record.ID == id || l.past.has(id)
}

// appendIDs appends the id of r and that of its parent.
func (r *Record) appendIDs(out []byte) ([]byte, error) {
	id, err := r.ID.bytes()
	if err != nil {
		return nil, err
	}
	parent := []byte(noID)
	if r.Parent != "" {
		if parent, err = r.Parent.bytes(); err != nil {
			return nil, err
		}
	}
	return append(append(out, id...), parent...), nil
}
