package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/workdir/workdir/fs"
)

func TestStepLogRoundTrip(t *testing.T) {
	for _, c := range []struct{ n, workflows, size int }{{0, 1, 10}, {1, 1, 0}, {MaxLog, 7, 4000}, {20, 20, 200_000}} {
		want := stepLog(c.n, c.workflows, c.size)
		want.Record.Root = testLog(0).Record.Root
		archive := pack(t, newTree(t), want, nil)
		_, got := mustLoad(t, archive, nil)
		want.Record.Root = got.Record.Root
		if !reflect.DeepEqual(slices.Collect(got.All()), slices.Collect(want.All())) || !reflect.DeepEqual(got.Next(Record{}), want.Next(Record{})) {
			t.Errorf("%+v: the log comes back as another one", c)
		}
		reads := &countingReaderAt{ReaderAt: bytes.NewReader(archive)}
		fromEnd, err := ReadLog(reads, int64(len(archive)))
		if err != nil || !reflect.DeepEqual(fromEnd, got) || reads.n > 2 {
			t.Errorf("%+v: ReadLog returns %v in %d reads", c, err, reads.n)
		}
	}
}

// The log of a thousand steps is small, and read at once.
func TestFullLogIsSmall(t *testing.T) {
	log := stepLog(MaxLog, 1, 0)
	if n := len(encoded(t, log).payload); n > 70<<10 {
		t.Errorf("a full log takes %d bytes", n)
	}
	archive := pack(t, newTree(t), stepLog(MaxLog, MaxLog, 0), nil)
	reads := &countingReaderAt{ReaderAt: bytes.NewReader(archive)}
	if _, err := ReadLog(reads, int64(len(archive))); err != nil || reads.n != 1 {
		t.Errorf("ReadLog returns %v in %d reads", err, reads.n)
	}
}

func TestFind(t *testing.T) {
	log := stepLog(50, 3, 10)
	all := slices.Collect(log.All())
	for i, want := range all {
		step, ok := want.Origin.StepID()
		if got := log.Find(step); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("Find returns %+v for commit %d", got, i)
		}
	}
	of := func(o Origin) StepID {
		step, _ := o.StepID()
		return step
	}
	origin := all[7].Origin
	for _, other := range []Origin{
		{Workspace: origin.Workspace + "x", Execution: origin.Execution, Step: origin.Step},
		{Workspace: origin.Workspace, Execution: origin.Execution + "x", Step: origin.Step},
		{Workspace: origin.Workspace, Execution: origin.Execution, Step: "2"},
	} {
		if got := log.Find(of(other)); got != nil {
			t.Errorf("Find returns %+v for %+v", got, other)
		}
	}
	if got := testLog(3).Find(of(Origin{})); got != nil {
		t.Errorf("Find returns %+v for no step", got)
	}
	// The same step committed twice, which should not happen.
	rec := Record{ID: NewCommitID(), Time: log.Record.Time, Origin: origin, Result: []byte("second")}
	if got := log.Next(rec).Next(Record{ID: NewCommitID()}).Find(of(origin)); got == nil || got.ID != rec.ID {
		t.Errorf("Find returns %+v, which is not the newest", got)
	}
}

// A name that is used again is another step, by the time at which its execution was
// scheduled. Where that is not known the names alone count.
func TestFindByTheTimeScheduled(t *testing.T) {
	monday, tuesday := time.UnixMilli(1_700_000_000_000).UTC(), time.UnixMilli(1_700_000_000_001).UTC()
	record := func(at time.Time) Record {
		return Record{ID: NewCommitID(), Time: tuesday, Origin: Origin{Execution: "run", Step: "1", Scheduled: at}}
	}
	unknown, early, late := record(time.Time{}), record(monday), record(tuesday)
	for _, c := range []struct {
		name string
		log  []Record
		find time.Time
		want CommitID
	}{
		{"another time", []Record{early}, tuesday, ""},
		{"its own, not the newest", []Record{early, late}, monday, early.ID},
		{"not known when it was committed", []Record{unknown}, tuesday, unknown.ID},
		{"its own before one that is not known", []Record{late, unknown}, tuesday, late.ID},
		{"not known to who asks", []Record{early, late}, time.Time{}, late.ID},
		{"below a millisecond", []Record{early}, monday.Add(999 * time.Microsecond), early.ID},
	} {
		for _, after := range []int{0, 1} { // the last commit, and past ones
			var log *Log
			for _, rec := range append(c.log, make([]Record, after)...) {
				if rec.ID == "" {
					rec.ID = NewCommitID()
				}
				log = log.Next(rec)
			}
			origin := Origin{Execution: "run", Step: "1", Scheduled: c.find}
			step, _ := origin.StepID()
			var got CommitID
			if rec := log.Find(step); rec != nil {
				got = rec.ID
			}
			if got != c.want {
				t.Errorf("%s: Find returns %q with %d commits behind, want %q", c.name, got, after, c.want)
			}
		}
	}
}

// Clocks of hosts differ, but no commit is before its parent.
func TestTimeOfACommit(t *testing.T) {
	first := time.Unix(1_700_000_000, 5).UTC()
	log := testLogAt(nil, first)
	log = testLogAt(log, first.Add(-time.Hour))
	if !log.Record.Time.Equal(first) {
		t.Errorf("a commit with a slow clock has the time %v", log.Record.Time)
	}
	log = testLogAt(log, first.Add(time.Nanosecond))
	if !log.Record.Time.Equal(first.Add(time.Nanosecond)) {
		t.Errorf("the time of a commit is %v", log.Record.Time)
	}
}

// testLogAt is l with one more commit that happens at t.
func testLogAt(l *Log, t time.Time) *Log { return l.Next(Record{ID: NewCommitID(), Time: t}) }

func TestReachesBack(t *testing.T) {
	start := time.Unix(1_700_000_000, 0).UTC()
	log := testLogAt(nil, start)
	if !log.ReachesBack(start.Add(-time.Hour)) {
		t.Error("a log with its first commit does not reach back")
	}
	for i := range MaxLog {
		log = testLogAt(log, start.Add(time.Duration(i)*time.Second))
	}
	if !log.ReachesBack(start.Add(-time.Hour)) {
		t.Error("a full log with its first commit does not reach back")
	}
	// Now the first goes, and the oldest left is of the same time.
	log = testLogAt(log, start.Add(MaxLog*time.Second))
	_, log = mustLoad(t, pack(t, newTree(t), log, nil), nil)
	for _, c := range []struct {
		t    time.Time
		want bool
	}{{start.Add(-1), false}, {start, false}, {start.Add(1), true}} {
		if got := log.ReachesBack(c.t); got != c.want {
			t.Errorf("the log reaches back to %v: %v", c.t, got)
		}
	}
	// A last commit whose past does not fit.
	alone := &Log{Record: Record{ID: NewCommitID(), Parent: NewCommitID(), Time: start}}
	if alone.ReachesBack(start) || !alone.ReachesBack(start.Add(1)) {
		t.Error("a log that lost its past reaches back")
	}
}

// Times that do not follow each other, which only others write, do no harm.
func TestOddTimes(t *testing.T) {
	var log *Log
	var want []time.Time
	for _, sec := range []int64{5, -7, 1 << 33, minSecond, maxSecond, 0} {
		next := log.Next(Record{ID: NewCommitID()})
		next.Record.Time = time.Unix(sec, 999_999_999).UTC()
		want = append(want, next.Record.Time)
		log = next
	}
	_, log = mustLoad(t, pack(t, newTree(t), log, nil), nil)
	var got []time.Time
	for r := range log.All() {
		got = append(got, r.Time)
	}
	slices.Reverse(want)
	if !slices.Equal(got, want) {
		t.Errorf("the times are %v, want %v", got, want)
	}
}

// Records that are large push the oldest ones out, and not the limit.
func TestLargeRecords(t *testing.T) {
	var log *Log
	for i := range 100 {
		log = log.Next(Record{ID: NewCommitID(), Host: strings.Repeat(fmt.Sprint(i%10), maxTexts)})
	}
	if _, got := mustLoad(t, pack(t, newTree(t), log, nil), nil); got.Len() != 1+maxPast/maxTexts-1 || got.ReachesBack(time.Time{}) {
		t.Errorf("of a hundred commits of 64 KiB %d are there", got.Len())
	}
}

// Names are kept to the byte: a step is found by its hash.
func TestNamesThatAreNoText(t *testing.T) {
	o := Origin{Workspace: "file:///\xff", Execution: "e\x00\xfe", Step: "\n", Worker: "w\xc3"}
	log := testLog(0).Next(Record{ID: NewCommitID(), Origin: o, Tool: "\x80", Host: "\x81"}).Next(Record{ID: NewCommitID(), Origin: o})
	_, log = mustLoad(t, pack(t, newTree(t), log, nil), nil)
	for i, r := range slices.Collect(log.All())[:2] {
		if r.Origin != o || i == 1 && (r.Tool != "\x80" || r.Host != "\x81") {
			t.Errorf("commit %d comes back as %+v", i, r)
		}
	}
}

// naiveLog does slowly what a Log must do; the newest commit is the first.
type naiveLog []Record

func (l naiveLog) next(rec Record) naiveLog {
	rec.Parent = ""
	if len(l) > 0 {
		rec.Parent = l[0].ID
		if rec.Time.Before(l[0].Time) {
			rec.Time = l[0].Time
		}
	}
	all := append(naiveLog{rec}, l...)
	all = slices.Clone(all[:min(len(all), MaxLog+1)])
	room, full := MaxResults, false
	for i := range all {
		room -= len(all[i].Result)
		full = full || room < 0
		if full && all[i].Result != nil {
			all[i].Result, all[i].Dropped = nil, true
		}
	}
	return all
}

func (l naiveLog) find(step StepID) *Record {
	same := func(a, b int64) bool { return a == b }
	unknown := func(a, b int64) bool { return a == 0 || b == 0 }
	for _, matches := range []func(a, b int64) bool{same, unknown} {
		if step.scheduled == 0 {
			matches = unknown
		}
		for i := range l {
			if id, ok := l[i].Origin.StepID(); ok && id.names == step.names && matches(id.scheduled, step.scheduled) {
				return &l[i]
			}
		}
	}
	return nil
}

// Commit upon commit, what a log says is what it was told.
func TestLogModel(t *testing.T) {
	var long *Log
	var longNaive naiveLog
	for range MaxLog - 5 {
		rec := Record{ID: NewCommitID(), Time: time.Unix(1_700_000_000, 0).UTC(), Tool: "tool", Result: []byte("old")}
		long, longNaive = long.Next(rec), longNaive.next(rec)
	}
	rapid.Check(t, func(t *rapid.T) {
		var log *Log
		var naive naiveLog
		if rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "long") {
			log, naive = long, longNaive
		}
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			rec := anyRecord(t)
			log, naive = log.Next(rec), naive.next(rec)
			log = through(t, log)
		}
		compare(t, log, naive)
	})
}

func anyRecord(t *rapid.T) Record {
	name := rapid.SampledFrom([]string{"", "a", "b", "\xff", "a name of some length, as they are"})
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rec := Record{
		ID: NewCommitID(), Time: at.Add(time.Duration(rapid.Int64Range(-1e12, 1e12).Draw(t, "time"))),
		Tool: name.Draw(t, "tool"), Host: name.Draw(t, "host"),
		Origin: Origin{
			Workspace: name.Draw(t, "workspace"), Execution: name.Draw(t, "execution"), Step: name.Draw(t, "step"),
			Attempt: rapid.Int32Range(0, 1<<31-1).Draw(t, "attempt"), Worker: name.Draw(t, "worker"),
			Scheduled: rapid.SampledFrom([]time.Time{{}, at, at.Add(time.Millisecond)}).Draw(t, "scheduled"),
		},
	}
	rec.Changed.Bytes = rapid.Int64().Draw(t, "bytes")
	size := rapid.SampledFrom([]int{-1, 0, 1, 7999, 8000, 8001, 300_000, MaxResult - 1, MaxResult})
	if n := size.Draw(t, "result"); n >= 0 {
		rec.Result = bytes.Repeat([]byte{byte(n)}, n)
	}
	return rec
}

// through writes the log behind a tar and reads it again.
func through(t *rapid.T, log *Log) *Log {
	tail, err := log.tail(memberSum{packed: gzipTrailer}, DefaultLimits().LogBytes, nil)
	if err != nil {
		t.Fatal(err)
	}
	archive := append(make([]byte, gzipTrailer), tail...)
	got, err := ReadLog(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, log) {
		t.Fatalf("the log comes back as another one: %+v, %+v", got.Record, log.Record)
	}
	return got
}

func compare(t *rapid.T, log *Log, naive naiveLog) {
	i := 0
	for r := range log.All() {
		if !reflect.DeepEqual(*r, naive[i]) {
			t.Fatalf("commit %d of %d is %+v, want %+v", i, log.Len(), r, naive[i])
		}
		i++
	}
	if i != len(naive) || log.Len() != i {
		t.Fatalf("%d commits are there, want %d", i, len(naive))
	}
	for _, r := range naive[:min(len(naive), 20)] {
		step, ok := r.Origin.StepID()
		if got := log.Find(step); ok && !reflect.DeepEqual(got, naive.find(step)) {
			t.Fatalf("Find returns %+v, want %+v", got, naive.find(step))
		}
	}
}

// Load and ReadLog want the results where one result can be found by itself.
func TestPlaceOfResults(t *testing.T) {
	log := testLog(1)
	log.Record.Result = bytes.Repeat([]byte("r"), maxChunk+10)
	member := tgz()
	archive := withLog(t, bytes.Clone(member), log)
	e := encoded(t, log)
	chain := appendMembers(nil, subLog, e.payload)
	results := appendMembers(nil, subResult, e.results)
	foot := archive[len(archive)-footerSize:]
	halves := slices.Concat(emptyMember(subResult, e.results[:10]), emptyMember(subResult, e.results[10:]))
	later := emptyMember(subfield{'W', 'X'}, []byte("of a later version"))
	for name, c := range map[string]struct {
		tail []byte
		ok   bool
	}{
		"as it is":             {slices.Concat(chain, results), true},
		"something behind":     {slices.Concat(chain, results, later), true},
		"missing":              {chain, false},
		"something between":    {slices.Concat(chain, later, results), false},
		"in front":             {slices.Concat(results, chain), false},
		"twice":                {slices.Concat(chain, results, results), false},
		"an empty one behind":  {slices.Concat(chain, results, emptyMember(subResult, nil)), false},
		"something within":     {slices.Concat(chain, results[:maxMember], later, results[maxMember:]), false},
		"cut elsewhere":        {slices.Concat(chain, halves), false},
		"one behind the other": {slices.Concat(chain, results, later, results), true}, // only what follows the log is looked at
	} {
		p := slices.Concat(member, c.tail, foot)
		_, got, err := load(t, p, nil)
		if c.ok != (err == nil && bytes.Equal(got.Record.Result, log.Record.Result)) || !c.ok && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: Load returns %v", name, err)
		}
		got, err = ReadLog(bytes.NewReader(p), int64(len(p)))
		if c.ok != (err == nil && bytes.Equal(got.Record.Result, log.Record.Result)) || !c.ok && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: ReadLog returns %v", name, err)
		}
	}
}

// emptyTreeOf returns a tree with the root attributes in log.
func emptyTreeOf(t *testing.T, log *Log) *fs.Tree {
	tree, _ := mustLoad(t, withLog(t, tgz(), log), nil)
	return tree
}

// The limit holds for log and results together, in writer and reader.
func TestLogBytes(t *testing.T) {
	_, log := mustLoad(t, pack(t, newTree(t), stepLog(20, 1, 100_000), nil), nil) // with the root
	size := encoded(t, log).size()
	for _, limit := range []int64{size - 1, 100_000, size} {
		lim := &Limits{LogBytes: limit}
		var out bytes.Buffer
		_, err := NewWriter(&out, &WriterOptions{Limits: lim}).WriteTree(t.Context(), emptyTreeOf(t, log), log)
		if ok := err == nil; ok != (limit == size) || !ok && !errors.Is(err, ErrLimit) {
			t.Errorf("with a limit of %d for %d bytes WriteTree says %v", limit, size, err)
		}
		_, _, err = load(t, withLog(t, tgz(), log), &ReaderOptions{Limits: lim})
		if ok := err == nil; ok != (limit == size) || !ok && !errors.Is(err, ErrLimit) {
			t.Errorf("with a limit of %d for %d bytes Load says %v", limit, size, err)
		}
	}
	log.Record.Root.Xattrs = map[string][]byte{"user.x": make([]byte, maxLogBytes)}
	if _, err := log.tail(memberSum{}, 1<<40, nil); !errors.Is(err, ErrLimit) {
		t.Errorf("a log beyond what readers bear is written: %v", err)
	}
}

func TestRefusesResults(t *testing.T) {
	log := stepLog(3, 1, 0)
	log.Record.Result = []byte("one")
	log.results = []result{{0, []byte("two")}, {2, []byte{}}}
	e := encoded(t, log)
	if _, err := decodeLog(e.payload, e.results); err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(e.payload, []byte(tagResults)) + sectionHead
	put := func(off int, v uint32) []byte {
		p := bytes.Clone(e.payload)
		binary.LittleEndian.PutUint32(p[at+off:], v)
		return p
	}
	for name, c := range map[string]struct{ payload, results []byte }{
		"missing":           {e.payload, nil},
		"too short":         {e.payload, []byte("onetw")},
		"too long":          {e.payload, []byte("onetwo!")},
		"damaged":           {e.payload, []byte("onetwa")},
		"exchanged":         {e.payload, []byte("twoone")},
		"huge in all":       {e.payload, make([]byte, MaxResults+1)},
		"not told of":       {encoded(t, stepLog(3, 1, 0)).payload, []byte("one")},
		"of the same twice": {put(placeBytes, 0), e.results},
		"out of order":      {put(0, 2), e.results},
		"of no commit":      {put(2*placeBytes, 4), e.results},
		"of far off":        {put(2*placeBytes, 1<<32-1), e.results},
		"huge":              {put(4, 1<<32-1), e.results},
		"longer than all":   {put(4, 7), e.results},
		"of another sum":    {put(8, 0), e.results},
	} {
		if log, err := decodeLog(c.payload, c.results); !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: decoded %+v, %v", name, log, err)
		}
	}
}

// Bombs and logs of too many commits.
func TestRefusesPasts(t *testing.T) {
	log := testLog(3)
	good, err := log.past.encode()
	if err != nil {
		t.Fatal(err)
	}
	put := func(off int, v uint32) []byte {
		p := bytes.Clone(good)
		binary.LittleEndian.PutUint32(p[off:], v)
		return p
	}
	bomb := past{ids: log.past.ids, rows: strings.Repeat("\x00", 20<<20)}
	full := testLog(MaxLog)
	full.past = past{ids: full.past.ids[:idBytes] + full.past.ids, rows: full.past.rows + "\x00"}
	if e := encoded(t, full); full.past.len() != MaxLog+1 {
		t.Error("the log is not too long")
	} else if _, err := e.decode(maxLogBytes); !errors.Is(err, ErrFormat) {
		t.Errorf("1,001 commits: decoding returns %v", err)
	}
	extra := past{ids: log.past.ids, rows: log.past.rows + "\x00"}
	less := past{ids: log.past.ids, rows: log.past.rows[:len(log.past.rows)-2]}
	noIDs := past{ids: log.past.ids[:idBytes] + noID + log.past.ids[2*idBytes:], rows: log.past.rows}
	encode := func(p past) []byte {
		out, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	rec := recordOf(t, &log.Record)
	for name, c := range map[string]struct {
		past []byte
		ok   bool
	}{
		"good":            {good, true},
		"bomb":            {encode(bomb), false},
		"one row more":    {encode(extra), false},
		"one row less":    {encode(less), false},
		"no id":           {encode(noIDs), false},
		"says it is more": {put(4, uint32(len(log.past.rows)+1)), false},
		"says it is less": {put(4, uint32(len(log.past.rows)-1)), false},
		"says it is huge": {put(4, 1<<32-1), false},
		"many commits":    {put(0, 1<<32-1), false},
		"no commits":      {put(0, 0), false},
		"cut":             {good[:len(good)-1], false},
		"bytes behind":    {append(bytes.Clone(good), 0), false},
		"nothing":         {nil, false},
	} {
		payload := appendSection(appendSection(nil, tagRecord, rec), tagPast, c.past)
		_, err := (&encodedLog{payload: payload}).decode(DefaultLimits().LogBytes)
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Errorf("%s: decoding returns %v", name, err)
		}
	}
}
