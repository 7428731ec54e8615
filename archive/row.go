package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

var (
	errRow   = errors.New("a record is malformed")
	errTexts = fmt.Errorf("the names in a record have more than %d bytes", maxTexts)

	// noRow is the record that the first row is encoded against.
	noRow = Record{Time: time.Unix(0, 0).UTC()}
)

// A row is the length of its fields and the fields, each a key and a value in the wire format
// of Protocol Buffers. An absent field has the same value as in the previous row. The numbers
// must never change.
const (
	rowSeconds  = 1 // since the previous row, zigzag: negative in a past, which runs backwards
	rowNanos    = 2
	rowResult   = 3 // 1: the work had a result
	rowAttempt  = 4
	rowCreated  = 5
	rowModified = 6
	rowRemoved  = 7
	rowBytes    = 8
	rowSchedule = 9  // of the execution, milliseconds since 1970; 0 means unknown
	rowTexts    = 16 // the first of the texts
	textCount   = 17
)

const (
	wireVarint = 0
	wire64     = 1
	wireBytes  = 2
	wire32     = 5
)

// maxTexts is the maximum total size of a row's texts, bytes, including those inherited from
// the previous row.
const maxTexts = 64 << 10

// texts are the fields from rowTexts on, in the order of their numbers.
func (r *Record) texts() [textCount]*string {
	o := &r.Origin
	return [...]*string{
		&r.Tool, &r.Host,
		&o.Workspace, &o.Execution, &o.Step,
		&o.Namespace, &o.WorkflowID, &o.RunID, &o.WorkflowType,
		&o.ActivityID, &o.ActivityType, &o.TaskQueue, &o.Worker,
		&r.Message, &r.Command, &r.Restored, (*string)(&r.Opened),
	}
}

// counts are the fields from rowCreated on, in the order of their numbers.
func (r *Record) counts() [4]*int64 {
	c := &r.Changed
	return [...]*int64{&c.Created, &c.Modified, &c.Removed, &c.Bytes}
}

// Bounds of a time, seconds since 1970: the years 1 to 9999.
const (
	minSecond = -62135596800
	maxSecond = 253402300799

	maxScheduled = maxSecond*1000 + 999 // milliseconds since 1970
)

// appendRow appends the row of r, encoded against before.
func appendRow(out []byte, r, before *Record) ([]byte, error) {
	sec := r.Time.Unix()
	if sec < minSecond || sec > maxSecond {
		return nil, errors.New("the time of a commit is not within the years 1 to 9999")
	}
	if r.Origin.Attempt < 0 {
		return nil, errors.New("the attempt of a commit is below zero")
	}
	if n := r.Origin.scheduled(); n < 0 || n > maxScheduled {
		return nil, errors.New("the time at which an execution was scheduled is not within the years 1970 to 9999")
	}
	if err := r.checkTexts(); err != nil {
		return nil, err
	}
	f := r.fields(before)
	out = binary.AppendUvarint(out, uint64(len(f)))
	return append(out, f...), nil
}

// fields encodes the fields in which r differs from before.
func (r *Record) fields(before *Record) (f []byte) {
	f = appendVarint(f, rowSeconds, zigzag(r.Time.Unix()-before.Time.Unix()), 0)
	f = appendVarint(f, rowNanos, uint64(r.Time.Nanosecond()), uint64(before.Time.Nanosecond()))
	f = appendVarint(f, rowResult, r.gave(), before.gave())
	f = appendVarint(f, rowAttempt, uint64(r.Origin.Attempt), uint64(before.Origin.Attempt))
	counts, countsBefore := r.counts(), before.counts()
	for i, n := range counts {
		f = appendVarint(f, rowCreated+i, uint64(*n), uint64(*countsBefore[i]))
	}
	f = appendVarint(f, rowSchedule, uint64(r.Origin.scheduled()), uint64(before.Origin.scheduled()))
	texts, textsBefore := r.texts(), before.texts()
	for i, s := range texts {
		if *s != *textsBefore[i] {
			f = binary.AppendUvarint(f, uint64(rowTexts+i)<<3|wireBytes)
			f = binary.AppendUvarint(f, uint64(len(*s)))
			f = append(f, *s...)
		}
	}
	return f
}

func (r *Record) checkTexts() error {
	n := 0
	for _, s := range r.texts() {
		n += len(*s)
	}
	if n > maxTexts {
		return errTexts
	}
	return nil
}

func appendVarint(out []byte, number int, v, before uint64) []byte {
	if v == before {
		return out
	}
	out = binary.AppendUvarint(out, uint64(number)<<3|wireVarint)
	return binary.AppendUvarint(out, v)
}

// gave is 1 if the work had a result, kept or not.
func (r *Record) gave() uint64 {
	if r.Dropped || r.Result != nil {
		return 1
	}
	return 0
}

func zigzag(n int64) uint64   { return uint64(n<<1) ^ uint64(n>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }

// cutRow splits the first row off rows.
func cutRow(rows string) (fields, rest string, err error) {
	n, rest, err := cutUvarint(rows)
	if err != nil || n > uint64(len(rest)) {
		return "", "", errRow
	}
	return rest[:n], rest[n:], nil
}

// cutUvarint splits a varint off s.
func cutUvarint(s string) (v uint64, rest string, err error) {
	for i := range min(len(s), binary.MaxVarintLen64) {
		c := s[i]
		if i == binary.MaxVarintLen64-1 && c > 1 {
			break
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return v, s[i+1:], nil
		}
	}
	return 0, "", errRow
}

// wireOf returns the wire type of a known field.
func wireOf(number uint64) (wire uint64, known bool) {
	switch {
	case number >= rowSeconds && number <= rowSchedule:
		return wireVarint, true
	case number >= rowTexts && number < rowTexts+textCount:
		return wireBytes, true
	}
	return 0, false
}

// apply changes r from the previous row to that of the given fields.
func (r *Record) apply(fields string) error {
	for fields != "" {
		key, rest, err := cutUvarint(fields)
		if err != nil {
			return err
		}
		number, wire := key>>3, key&7
		if want, known := wireOf(number); known && want != wire {
			return errRow
		}
		switch wire {
		case wireVarint:
			var v uint64
			if v, fields, err = cutUvarint(rest); err == nil {
				err = r.setNumber(number, v)
			}
		case wireBytes:
			var text string
			if text, fields, err = cutRow(rest); err == nil {
				r.setText(number, text)
			}
		case wire64:
			fields, err = skip(rest, 8)
		case wire32:
			fields, err = skip(rest, 4)
		default:
			err = errRow
		}
		if err != nil {
			return err
		}
	}
	return r.checkTexts()
}

func skip(s string, n int) (string, error) {
	if len(s) < n {
		return "", errRow
	}
	return s[n:], nil
}

func (r *Record) setNumber(number, v uint64) error {
	switch number {
	case rowSeconds:
		sec := r.Time.Unix() + unzigzag(v) // an overflow is out of bounds too
		if sec < minSecond || sec > maxSecond {
			return errRow
		}
		r.Time = time.Unix(sec, int64(r.Time.Nanosecond())).UTC()
	case rowNanos:
		if v > maxNsec {
			return errRow
		}
		r.Time = time.Unix(r.Time.Unix(), int64(v)).UTC()
	case rowResult:
		if v > 1 {
			return errRow
		}
		r.Dropped = v == 1
	case rowAttempt:
		if v > math.MaxInt32 {
			return errRow
		}
		r.Origin.Attempt = int32(v)
	case rowCreated, rowModified, rowRemoved, rowBytes:
		*r.counts()[number-rowCreated] = int64(v)
	case rowSchedule:
		if v > maxScheduled {
			return errRow
		}
		r.Origin.setScheduled(int64(v))
	}
	return nil
}

func (r *Record) setText(number uint64, text string) {
	if _, known := wireOf(number); known {
		*r.texts()[number-rowTexts] = text
	}
}
