package archive

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"

	"github.com/workdir/workdir/fs"
)

// The payload of a log is a sequence of sections: a tag of four bytes, the length of the
// content as uint32, the content. Sections with other tags are skipped, so that later versions
// can add some.
const (
	tagRecord  = "RECD" // id, id of the parent, row
	tagRoot    = "ROOT" // one rootJSON
	tagPast    = "PAST" // see encodePast
	tagResults = "RSLT" // places of results
)

const sectionHead = 8

// rootJSON is the stored form of a RootAttr. The names must never change.
type rootJSON struct {
	Mode   uint32            `json:"mode"`
	UID    uint32            `json:"uid"`
	GID    uint32            `json:"gid"`
	Sec    int64             `json:"mtime_s"`
	Nsec   uint32            `json:"mtime_ns"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

// encodedLog is the stored form of a log.
type encodedLog struct {
	payload  []byte
	results  []byte
	unpacked int64 // additional bytes that payload unpacks to
}

// size is the number of bytes that count against Limits.LogBytes.
func (e *encodedLog) size() int64 { return int64(len(e.payload)+len(e.results)) + e.unpacked }

// encode returns the stored form of l. Equal logs have equal bytes.
func (l *Log) encode() (*encodedLog, error) {
	e, err := l.encodeSections()
	if err != nil {
		return nil, fmt.Errorf("encode commit log: %w", err)
	}
	return e, nil
}

func (l *Log) encodeSections() (*encodedLog, error) {
	if l.err != nil {
		return nil, l.err
	}
	rec, err := l.Record.appendIDs(nil)
	if err != nil {
		return nil, err
	}
	if rec, err = appendRow(rec, &l.Record, &noRow); err != nil {
		return nil, err
	}
	e := &encodedLog{payload: appendSection(nil, tagRecord, rec)}
	if l.Record.Root.Mode != 0 {
		root, err := json.Marshal(l.Record.Root.toJSON())
		if err != nil {
			return nil, err
		}
		e.payload = appendSection(e.payload, tagRoot, root)
	}
	if l.past.len() > 0 {
		packed, err := l.past.encode()
		if err != nil {
			return nil, err
		}
		e.payload = appendSection(e.payload, tagPast, packed)
		e.unpacked = int64(len(l.past.rows))
	}
	places, results, err := l.encodeResults()
	if err != nil {
		return nil, err
	}
	if len(places) > 0 {
		e.payload = appendSection(e.payload, tagResults, places)
		e.results = results
	}
	return e, nil
}

var errTail = errors.New("it ends within a section")

// cutSection splits the first section off a payload.
func cutSection(p []byte) (tag string, content, rest []byte, err error) {
	if len(p) < sectionHead {
		return "", nil, nil, errTail
	}
	n := uint64(binary.LittleEndian.Uint32(p[4:]))
	tag, rest = string(p[:4]), p[sectionHead:]
	if n > uint64(len(rest)) {
		return "", nil, nil, errTail
	}
	return tag, rest[:n], rest[n:], nil
}

func appendSection(out []byte, tag string, content []byte) []byte {
	out = append(out, tag...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(content)))
	return append(out, content...)
}

// decode is the inverse of encode. maxLog is Limits.LogBytes. Errors: *FormatError,
// *LimitError.
func (e *encodedLog) decode(maxLog int64) (*Log, error) {
	d := &logDecoder{log: &Log{}, room: maxLog - e.size()}
	if err := over("LogBytes", e.size(), maxLog, ""); err != nil {
		return nil, err
	}
	for rest := e.payload; len(rest) > 0; {
		tag, content, more, err := cutSection(rest)
		if err != nil {
			return nil, &FormatError{Reason: "the commit log is cut off", Err: err}
		}
		if err := d.section(tag, content); errors.Is(err, ErrLimit) {
			return nil, err
		} else if err != nil {
			return nil, &FormatError{Reason: fmt.Sprintf("section %q of the commit log", tag), Err: err}
		}
		rest = more
	}
	return d.finish(e)
}

// logDecoder assembles a log from its sections.
type logDecoder struct {
	log    *Log
	places []place
	root   *RootAttr
	room   int64 // bytes left for unpacking
	seen   map[string]bool
}

func (d *logDecoder) section(tag string, content []byte) error {
	decode := map[string]func([]byte) error{
		tagRecord: d.record, tagRoot: d.rootAttr, tagPast: d.past, tagResults: d.results,
	}[tag]
	if decode == nil {
		return nil
	}
	if d.seen[tag] {
		return errors.New("it occurs twice")
	}
	if d.seen == nil {
		d.seen = map[string]bool{}
	}
	d.seen[tag] = true
	return decode(content)
}

func (d *logDecoder) record(content []byte) error {
	if len(content) < 2*idBytes {
		return errRow
	}
	text := string(content)
	r := noRow
	fields, rest, err := cutRow(text[2*idBytes:])
	if err != nil || rest != "" {
		return errRow
	}
	if err := r.apply(fields); err != nil {
		return err
	}
	r.ID, r.Parent = commitIDOf(text[:idBytes]), commitIDOf(text[idBytes:2*idBytes])
	if r.ID == "" {
		return errRow
	}
	d.log.Record = r
	return nil
}

func (d *logDecoder) rootAttr(content []byte) error {
	var j rootJSON
	if err := json.Unmarshal(content, &j); err != nil {
		return err
	}
	if j.Nsec > maxNsec {
		return errors.New("the root's time has a second's fraction of a second or more")
	}
	d.root = &RootAttr{
		Mode: j.Mode, UID: j.UID, GID: j.GID,
		Mtime: fs.Time{Sec: j.Sec, Nsec: j.Nsec}, Xattrs: j.Xattrs,
	}
	return nil
}

func (r *RootAttr) toJSON() *rootJSON {
	return &rootJSON{
		Mode: r.Mode, UID: r.UID, GID: r.GID,
		Sec: r.Mtime.Sec, Nsec: r.Mtime.Nsec, Xattrs: r.Xattrs,
	}
}

const pastHead = 4 + 4

// encode returns the content of the section: the count of commits and the bytes of
// their rows, each as uint32; their ids and that of the oldest one's parent; the
// rows, deflated.
func (p *past) encode() ([]byte, error) {
	var out bytes.Buffer
	head := binary.LittleEndian.AppendUint32(nil, uint32(p.len()))
	out.Write(binary.LittleEndian.AppendUint32(head, uint32(len(p.rows))))
	out.WriteString(p.ids)
	err := flate.StatelessDeflate(&out, []byte(p.rows), true, nil)
	return out.Bytes(), err
}

func (d *logDecoder) past(content []byte) error {
	if len(content) < pastHead {
		return errRow
	}
	n, size := binary.LittleEndian.Uint32(content), int64(binary.LittleEndian.Uint32(content[4:]))
	idLen := (int(n) + 1) * idBytes
	if n == 0 || n > MaxLog || len(content) < pastHead+idLen {
		return fmt.Errorf("%d bytes are not a list of %d commits, and at most %d are allowed", len(content), n, MaxLog)
	}
	if size > d.room {
		return over("LogBytes", size, d.room, "")
	}
	p := past{ids: string(content[pastHead:][:idLen])}
	var rows strings.Builder
	rows.Grow(int(size))
	in := bytes.NewReader(content[pastHead+idLen:])
	k, err := io.Copy(&rows, io.LimitReader(flate.NewReader(in), size+1))
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if k != size || in.Len() > 0 {
		return fmt.Errorf("unpack: it does not have %d bytes, as declared", size)
	}
	p.rows = rows.String()
	for i := range int(n) {
		if p.id(i) == "" {
			return errRow
		}
	}
	d.log.past = p
	return p.each(func(int, *Record) bool { return true })
}

// finish checks the sections against each other, and assigns the results.
func (d *logDecoder) finish(e *encodedLog) (*Log, error) {
	l := d.log
	if l.Record.ID == "" {
		return nil, formatErr("", "the commit log has no record")
	}
	if l.past.len() > 0 && l.Record.Parent != l.past.id(0) {
		return nil, formatErr("", "the commits of the log do not follow each other")
	}
	if d.root != nil {
		l.Record.Root = *d.root
	}
	if err := l.takeResults(d.places, e.results); err != nil {
		return nil, &FormatError{Reason: "the results of the commit log", Err: err}
	}
	return l, nil
}
