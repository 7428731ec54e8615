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

// MaxLog is the maximum number of commits before the last one in a log.
const MaxLog = 1000

// CommitID identifies one commit: 16 random bytes in lower-case hex.
type CommitID string

// NewCommitID makes an id that no other commit has.
func NewCommitID() CommitID {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails: it would crash the program instead
	return CommitID(hex.EncodeToString(b[:]))
}

const idBytes = 16

// shownID is how many digits of an id are shown: enough to distinguish the commits of a log.
const shownID = 8

// Short is the beginning of an id for people, the shortest that a URL accepts as a version,
// which contains a letter.
func (id CommitID) Short() string {
	n := min(shownID, len(id))
	if letter := strings.IndexAny(string(id), "abcdef"); letter >= n {
		n = letter + 1
	}
	return string(id[:n])
}

// noID stands for no commit.
const noID = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// NoArchive stands where a commit is asked for, for the workspace as it was when it had no
// archive yet. No commit has this id.
const NoArchive CommitID = "00000000000000000000000000000000"

// bytes returns the 16 bytes of id.
func (id CommitID) bytes() ([]byte, error) {
	b, err := hex.DecodeString(string(id))
	if err != nil || len(b) != idBytes || hex.EncodeToString(b) != string(id) || string(b) == noID {
		return nil, fmt.Errorf("commit id %q: not %d bytes in lower-case hex", string(id), idBytes)
	}
	return b, nil
}

// commitIDOf is the inverse of bytes, "" for noID.
func commitIDOf(b string) CommitID {
	if b == noID {
		return ""
	}
	return CommitID(hex.EncodeToString([]byte(b)))
}

// RootAttr are the attributes of a tree's root directory, for which the tar has no entry. A
// zero Mode means that they are not known.
type RootAttr struct {
	Mode     uint32 // S_IFMT and permission bits
	UID, GID uint32
	Mtime    fs.Time
	Xattrs   map[string][]byte // user.* only
}

// Changes sums up what a commit changed.
type Changes = fs.Changes

// Record describes one commit.
type Record struct {
	ID      CommitID
	Parent  CommitID  // the commit that was opened; "" for the first
	Time    time.Time // never before the parent's
	Tool    string    // program and version that committed
	Host    string
	Changed Changes
	Origin  Origin

	Message  string // the committer's description
	Command  string // the command line that ran in the workspace
	Restored string // id of the commit whose state this one restores; "" for any other commit
	// Opened is the version that the work began with, where that is no commit's or not the
	// parent's: NoArchive; the id of an archive that another program wrote; or, where a
	// workflow was reset, that of the commit to which the workspace was rewound. "": the
	// parent's, or, without a parent, not known.
	Opened CommitID

	Result  []byte   // the work's result, for later attempts at it; nil for none, else at most MaxResult bytes
	Dropped bool     // there was a Result, which is no longer kept
	Root    RootAttr // the Writer takes it from the tree
}

// RewoundTo returns the commit that the work began with, or NoArchive, where that was not the
// parent; "" where it was.
func (r *Record) RewoundTo() CommitID {
	if r.Parent == "" {
		return ""
	}
	return r.Opened
}

// MaxMessage is the recommended maximum length of a Message or Command, bytes: the texts of a
// record have a joint limit.
const MaxMessage = 8 << 10

// Log is the record of the commit that made an archive, and those of the commits before it:
// the last MaxLog, without their Root. Logs share their contents, so a Result from one must
// not be modified.
type Log struct {
	Record  Record
	past    past
	results []result // of past commits, newest first
	err     error    // why a past commit cannot be stored
	lost    bool     // there are commits, but they are unknown
}

// LostLog stands for a log that cannot be read. It has no commits and reaches back to no time,
// and a commit on top of it begins a new log with an unknown parent.
func LostLog() *Log { return &Log{lost: true} }

// Lost reports whether l is LostLog.
func (l *Log) Lost() bool { return l != nil && l.lost }

// Next returns the log of the commit rec on top of l, which may be nil and is not changed.
// rec's parent becomes l's commit. Clocks of hosts differ, so if rec's time is earlier than
// its parent's it becomes the parent's; call StoredAt first. The oldest results are dropped to
// keep MaxResults.
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

// Len is the number of commits in l, including the last one. A nil or lost log has none.
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
		// Malformed rows were refused when the log was read.
		_ = l.past.each(func(i int, row *Record) bool { return yield(l.pastRecord(i, row)) })
	}
}

// pastRecord returns a separate record of the row of commit i.
func (l *Log) pastRecord(i int, row *Record) *Record {
	r := *row
	r.ID, r.Parent = l.past.id(i), l.past.id(i+1)
	r.Result = l.resultOf(i)
	r.Dropped = row.Dropped && r.Result == nil
	return &r
}

// Find returns the newest commit of a step; nil if it has none, or l is nil or lost. If no
// commit has both the names and the time of the step, Find returns the newest with these names
// for which one of the two times is unknown: older releases did not record the time, and their
// commits can be identified only by their names.
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

// ReachesBack reports whether every commit since t is in the log: it begins with a first
// commit, or has one older than t, since dropped commits are older still. A nil log, of an
// archive written by another tool, which does not count as a commit, reaches back for ever.
// Times are those of the committing hosts, or of the store (StoredAt), and as accurate as
// their clocks.
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

// Earliest returns the commit with the earliest time, the oldest one if several have it; nil
// if l is nil or lost.
func (l *Log) Earliest() (first *Record) {
	for r := range l.All() {
		if first == nil || !r.Time.After(first.Time) {
			first = r
		}
	}
	return first
}

// farAhead is how much a commit's own time may be later than the time at which its archive was
// stored, before its host's clock is considered ahead.
const farAhead = time.Minute

// noneBefore is a time before which no archive with a log was stored: an earlier time comes
// from a file system or tool that does not keep times.
var noneBefore = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// StoredAt returns the log of an archive that was stored at t by the store's clock.
// A last commit far ahead of t gets the time t, so that one host whose clock is ahead does not
// determine the times of all later commits. l is not changed.
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
