package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/fs"
)

func TestCommitIDs(t *testing.T) {
	a, b := NewCommitID(), NewCommitID()
	if a == b || len(a) != 32 {
		t.Errorf("ids %q and %q", a, b)
	}
	for _, id := range []CommitID{"", "abc", CommitID(strings.ToUpper(string(a))), a + "00", CommitID(strings.Repeat("g", 32))} {
		if _, err := id.bytes(); err == nil && id != a {
			t.Errorf("%q passes for an id", id)
		}
	}
}

func TestLogNext(t *testing.T) {
	var none *Log
	if none.Has("x") || none.Len() != 0 || none.Find(StepID{}) != nil || !none.ReachesBack(time.Now()) {
		t.Error("a nil log has a commit")
	}
	for range none.All() {
		t.Error("a nil log has a commit")
	}
	l := testLog(MaxLog + 5)
	if l.Len() != MaxLog+1 {
		t.Errorf("%d commits are remembered", l.Len())
	}
	next := l.Next(Record{ID: NewCommitID(), Parent: "is overwritten"})
	was, is := slices.Collect(l.All()), slices.Collect(next.All())
	if next.Record.Parent != l.Record.ID || len(is) != MaxLog+1 || !reflect.DeepEqual(is[1:], was[:MaxLog]) {
		t.Errorf("next is %+v, %d", next.Record, next.Len())
	}
	oldest := was[MaxLog].ID
	if !l.Has(oldest) || next.Has(oldest) || !next.Has(l.Record.ID) || !next.Has(next.Record.ID) || next.Has("x") {
		t.Error("the log has the wrong commits")
	}
}

func TestLogRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 700, MaxLog} {
		archive := pack(t, newTree(t), testLog(n), nil)
		_, got := mustLoad(t, archive, nil)
		want := testLog(n)
		want.Record.Root = got.Record.Root
		if !reflect.DeepEqual(got, want) {
			t.Errorf("with %d earlier commits the log comes back as %+v", n, got.Record)
		}
		reads := &countingReaderAt{ReaderAt: bytes.NewReader(archive)}
		fromEnd, err := ReadLog(reads, int64(len(archive)))
		if err != nil || !reflect.DeepEqual(fromEnd, got) || reads.n > 1 {
			t.Errorf("ReadLog returns %v in %d reads", err, reads.n)
		}
	}
}

type countingReaderAt struct {
	io.ReaderAt
	n int
}

func (c *countingReaderAt) ReadAt(p []byte, off int64) (int, error) {
	c.n++
	return c.ReaderAt.ReadAt(p, off)
}

func TestLongLogTakesTwoReads(t *testing.T) {
	log := testLog(0)
	log.Record.Result = bytes.Repeat([]byte("r"), 100_000)
	tree := fullTree(t)
	long := strings.Repeat("x", 60_000)
	maker{t, tree}.xattr("", "user.long", long)
	archive := pack(t, tree, log, nil)
	reads := &countingReaderAt{ReaderAt: bytes.NewReader(archive)}
	got, err := ReadLog(reads, int64(len(archive)))
	if err != nil || string(got.Record.Root.Xattrs["user.long"]) != long || !bytes.Equal(got.Record.Result, log.Record.Result) || reads.n != 2 {
		t.Errorf("ReadLog returns %v in %d reads", err, reads.n)
	}
}

func TestNoLog(t *testing.T) {
	archive := pack(t, fullTree(t), nil, nil)
	if _, log := mustLoad(t, archive, nil); log != nil {
		t.Errorf("Load returns %+v", log)
	}
	for _, p := range [][]byte{archive, nil, []byte("short"), make([]byte, 3*tailRead)} {
		if log, err := ReadLog(bytes.NewReader(p), int64(len(p))); log != nil || err != nil {
			t.Errorf("ReadLog returns %+v, %v", log, err)
		}
	}
}

// What is said of one commit is not said of those before and after it.
func TestLogKeepsWhatIsSaid(t *testing.T) {
	var log *Log
	said := []string{"", "first", "", "second", "second", ""}
	for i, text := range said {
		log = log.Next(Record{ID: CommitID(fmt.Sprintf("%032x", i+1)), Message: text, Command: text + "!", Restored: text + "?", Opened: CommitID(text + ":")})
	}
	_, log = mustLoad(t, pack(t, newTree(t), log, nil), nil)
	i := len(said)
	for r := range log.All() {
		i--
		if r.Message != said[i] || r.Command != said[i]+"!" || r.Restored != said[i]+"?" || r.Opened != CommitID(said[i]+":") {
			t.Errorf("of commit %d it is said %q, %q, %q, %q, want %q", i, r.Message, r.Command, r.Restored, r.Opened, said[i])
		}
	}
	if i != 0 {
		t.Errorf("%d commits are missing", i)
	}
}

// A later version may add fields to records and sections to the log.
func TestUnknownPartsOfALogAreSkipped(t *testing.T) {
	want := testLog(0)
	rec := recordOf(t, &want.Record)
	fields, _, err := cutRow(string(rec[2*idBytes:]))
	if err != nil {
		t.Fatal(err)
	}
	fields += "\xf8\x02\x05" + "\xfa\x02\x03new" + "\xf9\x0212345678" + "\xfd\x021234" // 47 of each kind
	rec = append(append(rec[:2*idBytes], byte(len(fields))), fields...)
	payload := appendSection(nil, "NEWS", []byte("anything"))
	payload = appendSection(payload, tagRecord, rec)
	payload = appendSection(payload, tagRoot, []byte(`{"mode":7,"news":{"a":[1]}}`))
	want.Record.Root.Mode = 7
	log, err := decodeLog(payload, nil)
	if err != nil || !reflect.DeepEqual(log, want) {
		t.Errorf("decoded %+v, %v", log, err)
	}
}

func decodeLog(payload, results []byte) (*Log, error) {
	e := encodedLog{payload: payload, results: results}
	return e.decode(1 << 20)
}

func TestRefusesLogs(t *testing.T) {
	section := func(tag, content string) []byte { return appendSection(nil, tag, []byte(content)) }
	good, rec := encoded(t, testLog(3)).payload, encoded(t, testLog(0)).payload
	row := func(fields string) []byte {
		return section(tagRecord, strings.Repeat("a", idBytes)+noID+string(rune(len(fields)))+fields)
	}
	for name, payload := range map[string][]byte{
		"empty":             nil,
		"no record":         section("NEWS", "x"),
		"cut":               good[:len(good)-1],
		"cut in a head":     append(bytes.Clone(good), 'x'),
		"two records":       append(bytes.Clone(rec), rec...),
		"no ids":            section(tagRecord, "short"),
		"no row":            section(tagRecord, strings.Repeat("a", 2*idBytes)),
		"no id":             section(tagRecord, noID+noID+"\x00"),
		"row and more":      section(tagRecord, strings.Repeat("a", 2*idBytes)+"\x00x"),
		"row without end":   section(tagRecord, strings.Repeat("a", 2*idBytes)+"\x80"),
		"endless number":    row(strings.Repeat("\xff", 11)),
		"number too large":  row("\x28" + strings.Repeat("\xff", 9) + "\x02"),
		"no value":          row("\x10"),
		"text for a number": row("\x12\x01x"),
		"number for a text": row("\x80\x01\x01"),
		"64 for a number":   row("\x1112345678"),
		"32 for a text":     row("\x85\x011234"),
		"cut text":          row("\x82\x01\x05abcd"),
		"cut unknown 64":    row("\xf9\x011234567"),
		"cut unknown 32":    row("\xfd\x01123"),
		"unknown wire":      row("\xfb\x01"),
		"time far ahead":    row("\x08" + string(binary.AppendUvarint(nil, zigzag(maxSecond+1)))),
		"time far back":     row("\x08" + string(binary.AppendUvarint(nil, zigzag(minSecond-1)))),
		"time beyond all":   row("\x08" + string(binary.AppendUvarint(nil, zigzag(1<<63-1)))),
		"fraction of 1":     row("\x10" + string(binary.AppendUvarint(nil, maxNsec+1))),
		"result of 2":       row("\x18\x02"),
		"attempt too large": row("\x20" + string(binary.AppendUvarint(nil, 1<<31))),
		"scheduled beyond":  row("\x48" + string(binary.AppendUvarint(nil, maxScheduled+1))),
		"text for a time":   row("\x4a\x01x"),
		"root is no JSON":   append(bytes.Clone(rec), section(tagRoot, "{")...),
		"bad time of root":  append(bytes.Clone(rec), section(tagRoot, `{"mode":1,"mtime_ns":1000000000}`)...),
		"past is short":     append(bytes.Clone(rec), section(tagPast, "short")...),
		"past of none":      append(bytes.Clone(rec), section(tagPast, "\x00\x00\x00\x00\x00\x00\x00\x00"+noID+"\x03\x00")...),
		"past of another":   append(bytes.Clone(rec), pastOf(t, testLog(2))...),
		"result for no row": append(bytes.Clone(good), section(tagResults, "\x04\x00\x00\x00"+"\x00\x00\x00\x00"+"\x00\x00\x00\x00")...),
		"result of no step": append(bytes.Clone(good), section(tagResults, "\x03\x00\x00\x00"+"\x00\x00\x00\x00"+"\x00\x00\x00\x00")...),
		"results in pieces": append(bytes.Clone(good), section(tagResults, "short")...),
		"results for 1,002": append(bytes.Clone(good), section(tagResults, strings.Repeat("x", (MaxLog+2)*placeBytes))...),
	} {
		if log, err := decodeLog(payload, nil); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: decoded %+v, %v", name, log, err)
		}
	}
}

// encoded returns a log as it is stored.
func encoded(tb testing.TB, l *Log) *encodedLog {
	tb.Helper()
	e, err := l.encode()
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// recordOf returns the content of the section for a record.
func recordOf(tb testing.TB, r *Record) []byte {
	tb.Helper()
	out, err := r.appendIDs(nil)
	if err != nil {
		tb.Fatal(err)
	}
	if out, err = appendRow(out, r, &noRow); err != nil {
		tb.Fatal(err)
	}
	return out
}

// pastOf returns the section with the past of a log.
func pastOf(tb testing.TB, l *Log) []byte {
	tb.Helper()
	p, err := l.past.encode()
	if err != nil {
		tb.Fatal(err)
	}
	return appendSection(nil, tagPast, p)
}

func TestRefusesToEncode(t *testing.T) {
	good := testLog(1).Record
	for name, edit := range map[string]func(r *Record){
		"id":          func(r *Record) { r.ID = "bad" },
		"no id":       func(r *Record) { r.ID = CommitID(strings.Repeat("0", 2*idBytes)) },
		"parent":      func(r *Record) { r.Parent = "bad" },
		"early time":  func(r *Record) { r.Time = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) },
		"late time":   func(r *Record) { r.Time = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"attempt":     func(r *Record) { r.Origin.Attempt = -1 },
		"long result": func(r *Record) { r.Result = make([]byte, MaxResult+1) },
	} {
		bad := good
		edit(&bad)
		if _, err := (&Log{Record: bad}).encode(); err == nil {
			t.Errorf("%s: a log with that is encoded", name)
		}
		if _, err := (&Log{Record: bad}).Next(Record{ID: NewCommitID(), Time: good.Time}).encode(); err == nil && name != "long result" {
			t.Errorf("%s: a log with that behind it is encoded", name)
		}
	}
}

// ReadLog could not find the log, so Load must not either.
func TestLogInPieces(t *testing.T) {
	archive := pack(t, newTree(t), testLog(700), nil)
	tail := tailOf(t, archive)
	_, size, ok := parseEmptyMember(tail, subLog)
	if !ok {
		t.Fatal("no chunk at the beginning of the tail")
	}
	at := len(archive) - len(tail) + size
	bad := slices.Concat(archive[:at], gz(nil), archive[at:])
	if _, log, err := load(t, bad, nil); !errors.Is(err, ErrFormat) {
		t.Errorf("Load returns %v, %v", log, err)
	}
	if log, err := ReadLog(bytes.NewReader(bad), int64(len(bad))); !errors.Is(err, ErrFormat) {
		t.Errorf("ReadLog returns %v, %v", log, err)
	}
}

// A flag means something that a reader must know.
func TestFooterOfANewerVersion(t *testing.T) {
	archive := pack(t, newTree(t), testLog(1), nil)
	foot := archive[len(archive)-footerSize:]
	foot[memberHead+footVersion], foot[memberHead+footFlags] = 2, 1
	binary.LittleEndian.PutUint32(foot[memberHead+footCRC:], crc32c(foot[:memberHead+footCRC]))
	if _, _, err := load(t, archive, nil); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("Load says %v", err)
	}
	if _, err := ReadLog(bytes.NewReader(archive), int64(len(archive))); !errors.Is(err, ErrFormat) {
		t.Errorf("ReadLog says %v", err)
	}
}

// What a log says about the root is believed no more than an entry.
func TestRootOfAHostileLog(t *testing.T) {
	log := testLog(0)
	for name, root := range map[string]RootAttr{
		"bad name of an attribute": {Mode: 0o40700, Xattrs: map[string][]byte{"user.": nil}},
		"attribute too long":       {Mode: 0o40700, Xattrs: map[string][]byte{"user.x": make([]byte, 64<<10+1)}},
	} {
		log.Record.Root = root
		if _, _, err := load(t, withLog(t, tgz(), log), nil); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: Load says %v", name, err)
		}
	}
	log.Record.Root = RootAttr{Mode: 0o100700, Xattrs: map[string][]byte{"security.capability": []byte("x")}}
	tree, _ := mustLoad(t, withLog(t, tgz(), log), nil)
	wantSame(t, []string{`"" 040700 0:0 0.000000000`}, dump(t, tree))
}

// withLog returns the archive of one member with a log behind it.
func withLog(t *testing.T, member []byte, log *Log) []byte {
	t.Helper()
	raw, ok := gunzipped(member)
	if !ok {
		t.Fatal("no gzip member")
	}
	tail, err := log.tail(memberSum{packed: int64(len(member)), raw: int64(len(raw)), crc: crc32.ChecksumIEEE(raw)}, maxLogBytes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(member, tail...)
}

// A footer belongs to one tar.
func TestFooterOfAnotherTar(t *testing.T) {
	a, b := newTree(t), newTree(t)
	maker{t, a}.file("f", "one")
	maker{t, b}.file("f", "two")
	for _, tree := range []*fs.Tree{a, b} {
		maker{t, tree}.age()
	}
	one, two := pack(t, a, testLog(1), nil), pack(t, b, testLog(1), nil)
	first, tail := one[:len(one)-len(tailOf(t, one))], tailOf(t, two)
	if _, _, err := load(t, slices.Concat(first, tail), nil); !errors.Is(err, ErrFormat) {
		t.Errorf("Load says %v", err)
	}
}

func TestReadLogOfAHostileFooter(t *testing.T) {
	for _, size := range []int{-1, 0, 20_000} {
		log := testLog(2)
		if size >= 0 {
			log.Record.Result = make([]byte, size)
		}
		testHostileFooter(t, pack(t, newTree(t), log, nil))
	}
}

func testHostileFooter(t *testing.T, archive []byte) {
	f, err := footerAt(archive)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(f *footer){
		"offset below zero":  func(f *footer) { f.logOff, f.first.packed = -1, -1 },
		"offset far off":     func(f *footer) { f.logOff, f.first.packed = 1<<62, 1<<62 },
		"length below zero":  func(f *footer) { f.logLen = -1 },
		"length far off":     func(f *footer) { f.logLen = 1<<63 - 1 },
		"payload below zero": func(f *footer) { f.logRaw = -1 },
		"payload far off":    func(f *footer) { f.logRaw = 1 << 62 },
		"other offset":       func(f *footer) { f.logOff++; f.logLen-- },
		"other length":       func(f *footer) { f.logLen-- },
		"results as log":     func(f *footer) { f.logLen += 26 },
		"other payload":      func(f *footer) { f.logRaw++ },
		"other sum":          func(f *footer) { f.logCRC++ },
	} {
		bad := *f
		edit(&bad)
		p := append(bytes.Clone(archive[:len(archive)-footerSize]), bad.encode()...)
		if log, err := ReadLog(bytes.NewReader(p), int64(len(p))); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: ReadLog returns %+v, %v", name, log, err)
		}
		if _, _, err := load(t, p, nil); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: Load says %v", name, err)
		}
	}
}

// One host whose clock was ahead made the time of all commits to come, and a full log
// then refused every new step until that time. What counts is the order, and the
// store's own clock.
func TestClockThatIsAhead(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 5, 1, h, 0, 0, 0, time.UTC) }
	year := at(0).AddDate(1, 0, 0)
	commit := func(l *Log, says time.Time) *Log { return l.Next(Record{ID: NewCommitID(), Time: says, Host: "h"}) }
	times := func(l *Log) (all []time.Time) {
		for r := range l.All() {
			all = append(all, r.Time)
		}
		return all
	}
	var log *Log
	if log.StoredAt(at(0)) != nil {
		t.Error("no log becomes one")
	}
	log = commit(log, at(1)).StoredAt(at(1).Add(5 * time.Second))
	log = commit(log, year).StoredAt(at(2)) // ahead
	log = commit(log, at(3)).StoredAt(at(3))
	log = commit(log, year).StoredAt(at(4))  // ahead
	log = commit(log, year).StoredAt(at(5))  // and again
	log = commit(log, at(2)).StoredAt(at(6)) // behind
	if got, want := times(log), []time.Time{at(5), at(5), at(4), at(3), at(2), at(1)}; !slices.Equal(got, want) {
		t.Errorf("the times are %v, want %v", got, want)
	}
	_, log = mustLoad(t, pack(t, newTree(t), log, nil), nil)

	// The store's time is not believed where it cannot be true, nor for a little.
	log = commit(log, at(7))
	for _, stored := range []time.Time{{}, time.Unix(1, 0), at(7).Add(-farAhead), at(8), year} {
		if got := log.StoredAt(stored).Record.Time; !got.Equal(at(7)) {
			t.Errorf("stored at %v the last commit is of %v", stored, got)
		}
	}

	// A full log in which all are ahead, as the store's clock was.
	for range MaxLog + 5 {
		log = commit(log, year).StoredAt(year)
	}
	if log.ReachesBack(at(9)) || !log.Earliest().Time.Equal(year) {
		t.Errorf("the log reaches back beyond %v", log.Earliest().Time)
	}
	log = commit(log, at(9)).StoredAt(at(9))
	log = commit(log, at(10)).StoredAt(at(10))
	if !log.ReachesBack(at(11)) || !log.ReachesBack(at(9).Add(time.Second)) || log.ReachesBack(at(9)) {
		t.Errorf("with two commits since, the log reaches back to %v", log.Earliest().Time)
	}
}
