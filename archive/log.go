package archive

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// bytes gives the 16 bytes of id.
func (id CommitID) bytes() ([]byte, error) {
	b, err := hex.DecodeString(string(id))
	if err != nil || len(b) != idBytes || hex.EncodeToString(b) != string(id) {
		return nil, fmt.Errorf("commit id %q: not %d bytes in lower-case hex", string(id), idBytes)
	}
	return b, nil
}

// RootAttr is what a tree's root directory has, for which the tar part has no
// entry. A zero Mode means that nothing is known of it.
type RootAttr struct {
	Mode     uint32 // S_IFMT and permission bits
	UID, GID uint32
	Mtime    fs.Time
	Xattrs   map[string][]byte // user.* only
}

// Record tells of one commit.
type Record struct {
	ID      CommitID
	Parent  CommitID // the commit that was opened; "" for the first
	Time    time.Time
	Tool    string // program and version that committed
	Host    string
	Changed fs.Changes
	Origin  Origin
	Result  []byte   // what the work gave, for whoever tries it again; nil for nothing, else at most MaxResult bytes
	Dropped bool     // there was a Result, and it is not kept any more
	Root    RootAttr // the Writer takes it from the tree
}

// Log is the record of the commit that made an archive, and those of the commits
// before it, newest first, MaxLog at most and without their Root.
type Log struct {
	Record Record
	Past   []Record
}

// Find gives the newest commit of a step; nil if there is none, or l is nil.
func (l *Log) Find(step StepID) *Record {
	if l == nil {
		return nil
	}
	if id, ok := l.Record.Origin.StepID(); ok && id == step {
		return &l.Record
	}
	for i := range l.Past {
		if id, ok := l.Past[i].Origin.StepID(); ok && id == step {
			return &l.Past[i]
		}
	}
	return nil
}

// ReachesBack tells whether every commit since t is in the log. Only a full log
// may have dropped one. A nil log, of an archive that another tool wrote, reaches
// back for ever: it counts as no commit.
func (l *Log) ReachesBack(t time.Time) bool {
	return l == nil || len(l.Past) < MaxLog || l.Past[len(l.Past)-1].Time.Before(t)
}

// Next gives the log of the commit rec on top of l; l may be nil and is left as
// it is. rec's parent becomes l's commit.
func (l *Log) Next(rec Record) *Log {
	if l == nil {
		rec.Parent = ""
		return &Log{Record: rec}
	}
	rec.Parent = l.Record.ID
	past := make([]Record, 0, min(len(l.Past)+1, MaxLog))
	past = append(past, Record{ID: l.Record.ID, Time: l.Record.Time})
	past = append(past, l.Past[:min(len(l.Past), MaxLog-1)]...)
	return &Log{Record: rec, Past: past}
}

// Has tells whether the commit id made the archive or is among those before it.
// A nil log has none.
func (l *Log) Has(id CommitID) bool {
	if l == nil {
		return false
	}
	return l.Record.ID == id || slices.ContainsFunc(l.Past, func(p Record) bool { return p.ID == id })
}

// The payload of a log is a row of sections: a tag of four bytes, the length of
// the content as uint32, the content. Sections with other tags are skipped, and
// so are unknown fields of the record, so that later versions can add both.
const (
	tagRecord = "RECD" // one recordJSON
	tagPast   = "PAST" // identities: 16 bytes of id, time as int64 of ns since 1970
)

const (
	sectionHead  = 8
	identitySize = idBytes + 8
)

// recordJSON is a Record as it is stored. Names are for ever.
type recordJSON struct {
	ID       CommitID  `json:"id"`
	Parent   CommitID  `json:"parent,omitempty"`
	Time     time.Time `json:"time"`
	Tool     string    `json:"tool,omitempty"`
	Host     string    `json:"host,omitempty"`
	Created  int64     `json:"created"`
	Modified int64     `json:"modified"`
	Removed  int64     `json:"removed"`
	Bytes    int64     `json:"bytes"`
	Root     *rootJSON `json:"root,omitempty"`
}

type rootJSON struct {
	Mode   uint32            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Sec    int64             `json:"mtime_s"`
	Nsec   uint32            `json:"mtime_ns"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

// encode gives the payload of l. Equal logs give equal bytes.
func (l *Log) encode() ([]byte, error) {
	if _, err := l.Record.ID.bytes(); err != nil {
		return nil, fmt.Errorf("encode commit log: %w", err)
	}
	rec, err := json.Marshal(l.Record.toJSON())
	if err != nil {
		return nil, fmt.Errorf("encode commit log: %w", err)
	}
	out := appendSection(nil, tagRecord, rec)
	past := make([]byte, 0, len(l.Past)*identitySize)
	for _, p := range l.Past[:min(len(l.Past), MaxLog)] {
		id, err := p.ID.bytes()
		if err != nil {
			return nil, fmt.Errorf("encode commit log: %w", err)
		}
		past = append(past, id...)
		past = binary.LittleEndian.AppendUint64(past, uint64(p.Time.UnixNano()))
	}
	return appendSection(out, tagPast, past), nil
}

func appendSection(out []byte, tag string, content []byte) []byte {
	out = append(out, tag...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(content)))
	return append(out, content...)
}

// decodeLog is the reverse of encode. Its errors are *FormatError.
func decodeLog(payload []byte) (*Log, error) {
	l := &Log{}
	for rest := payload; len(rest) > 0; {
		if len(rest) < sectionHead {
			return nil, formatErr("", "the commit log ends within a section")
		}
		tag, n := string(rest[:4]), uint64(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[sectionHead:]
		if n > uint64(len(rest)) {
			return nil, formatErr("", "section %q of the commit log is longer than the log", tag)
		}
		if err := l.decodeSection(tag, rest[:n]); err != nil {
			return nil, &FormatError{Reason: fmt.Sprintf("section %q of the commit log", tag), Err: err}
		}
		rest = rest[n:]
	}
	if l.Record.ID == "" {
		return nil, formatErr("", "the commit log has no record")
	}
	return l, nil
}

func (l *Log) decodeSection(tag string, content []byte) error {
	switch tag {
	case tagRecord:
		return l.decodeRecord(content)
	case tagPast:
		return l.decodePast(content)
	}
	return nil
}

func (l *Log) decodeRecord(content []byte) error {
	var r recordJSON
	if err := json.Unmarshal(content, &r); err != nil {
		return err
	}
	if _, err := r.ID.bytes(); err != nil {
		return err
	}
	if r.Root != nil && r.Root.Nsec > maxNsec {
		return errors.New("the root's time has a second's fraction of a second or more")
	}
	l.Record = r.record()
	return nil
}

func (l *Log) decodePast(content []byte) error {
	if len(content)%identitySize != 0 || len(content) > MaxLog*identitySize {
		return fmt.Errorf("%d bytes are no list of at most %d commits", len(content), MaxLog)
	}
	l.Past = nil
	for c := range slices.Chunk(content, identitySize) {
		ns := int64(binary.LittleEndian.Uint64(c[idBytes:]))
		l.Past = append(l.Past, Record{
			ID:   CommitID(hex.EncodeToString(c[:idBytes])),
			Time: time.Unix(0, ns).UTC(),
		})
	}
	return nil
}

func (r *Record) toJSON() *recordJSON {
	j := &recordJSON{
		ID: r.ID, Parent: r.Parent, Time: r.Time.UTC(), Tool: r.Tool, Host: r.Host,
		Created: r.Changed.Created, Modified: r.Changed.Modified,
		Removed: r.Changed.Removed, Bytes: r.Changed.Bytes,
	}
	if r.Root.Mode != 0 {
		j.Root = &rootJSON{
			Mode: r.Root.Mode, UID: r.Root.UID, GID: r.Root.GID,
			Sec: r.Root.Mtime.Sec, Nsec: r.Root.Mtime.Nsec, Xattrs: r.Root.Xattrs,
		}
	}
	return j
}

func (j *recordJSON) record() Record {
	r := Record{
		ID: j.ID, Parent: j.Parent, Time: j.Time, Tool: j.Tool, Host: j.Host,
		Changed: fs.Changes{Created: j.Created, Modified: j.Modified, Removed: j.Removed, Bytes: j.Bytes},
	}
	if j.Root != nil {
		r.Root = RootAttr{
			Mode: j.Root.Mode, UID: j.Root.UID, GID: j.Root.GID,
			Mtime: fs.Time{Sec: j.Root.Sec, Nsec: j.Root.Nsec}, Xattrs: j.Root.Xattrs,
		}
	}
	return r
}

// tail gives the empty members that go behind a first member of the given
// figures: the chain of the log's payload, and the footer.
func (l *Log) tail(first memberSum, maxBytes int64) ([]byte, error) {
	payload, err := l.encode()
	if err != nil {
		return nil, err
	}
	if err := over("LogBytes", int64(len(payload)), maxBytes, ""); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for c := range slices.Chunk(payload, maxChunk) {
		out.Write(emptyMember(subLog, c))
	}
	f := footer{
		first:  first,
		logOff: first.packed, logLen: int64(out.Len()),
		logRaw: int64(len(payload)), logCRC: crc32c(payload),
	}
	out.Write(f.encode())
	return out.Bytes(), nil
}
