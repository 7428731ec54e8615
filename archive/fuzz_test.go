package archive

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/workdir/workdir/fs"
)

// fuzzLimits keep what a fuzzed archive may ask for small.
var fuzzLimits = Limits{
	Entries: 200, PathLen: 500, NameLen: 255, Depth: 20, SymlinkLen: 500,
	FileBytes: 1 << 20, TotalBytes: 4 << 20, HeaderBytes: 1 << 16,
	MetaBytes: 1 << 16, SparseExtents: 100, LogBytes: 1 << 16,
}

// FuzzLoadTar loads a tar that is compressed as it should be, and whose headers
// have the checksums that they should have.
func FuzzLoadTar(f *testing.F) {
	seed(f, func(p []byte) {
		if raw, ok := gunzipped(p); ok && len(raw) < 64<<10 {
			f.Add(raw)
		}
	})
	f.Add(tarOf(paxSparseHead("0,5,8192,0", "8192"), fileHead("s", 5), "hello"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		raw = bytes.Clone(raw)
		for p := raw; len(p) >= blockSize; p = p[blockSize:] {
			if b := (*block)(p); bytes.HasPrefix(b.bytes(fieldMagic), []byte("ustar")) {
				b.seal()
			}
		}
		fuzzLoad(t, gz(raw))
	})
}

// FuzzLoad loads anything.
func FuzzLoad(f *testing.F) {
	seed(f, func(p []byte) { f.Add(p) })
	f.Fuzz(fuzzLoad)
}

// FuzzReadLog reads the log from the end of anything, with a footer that is whole.
func FuzzReadLog(f *testing.F) {
	archive := pack(f, newTree(f), testLog(2), nil)
	f.Add(archive, uint64(20), uint64(30))
	f.Fuzz(func(t *testing.T, p []byte, off, length uint64) {
		_, _ = ReadLog(bytes.NewReader(p), int64(len(p)))
		foot := footer{first: memberSum{packed: int64(off)}, logOff: int64(off), logLen: int64(length), logRaw: int64(length)}
		p = append(bytes.Clone(p), foot.encode()...)
		_, _ = ReadLog(bytes.NewReader(p), int64(len(p)))
	})
}

// FuzzLog decodes a log whose checksums are right. What it tells can be written
// again, and then says the same.
func FuzzLog(f *testing.F) {
	for _, log := range []*Log{testLog(0), testLog(2), stepLog(3, 2, 5)} {
		e := encoded(f, log)
		f.Add(e.payload, e.results, []byte(log.past.rows))
		f.Add(e.payload, e.results, recordOf(f, &log.Record)[2*idBytes:])
	}
	f.Fuzz(func(t *testing.T, payload, results, rows []byte) {
		fuzzLog(t, payload, results)
		// Rows that fuzzing could not deflate.
		p := past{rows: string(rows)}
		n := 0
		for rest := p.rows; rest != "" && n < MaxLog; n++ {
			var err error
			if _, rest, err = cutRow(rest); err != nil {
				break
			}
		}
		last := testLog(0).Record
		last.Parent = CommitID(strings.Repeat("01", idBytes))
		p.ids = strings.Repeat("\x01", (n+1)*idBytes)
		packed, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		fuzzLog(t, appendSection(appendSection(nil, tagRecord, recordOf(t, &last)), tagPast, packed), nil)
	})
}

func fuzzLog(t *testing.T, payload, results []byte) {
	log, err := decodeLog(payload, results)
	if err != nil {
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Fatalf("decoding says %v", err)
		}
		return
	}
	log.ReachesBack(time.Now())
	log.Find(StepID{})
	for _, l := range []*Log{log, log.Next(Record{ID: NewCommitID(), Time: log.Record.Time})} {
		e, err := l.encode()
		if err != nil {
			t.Fatalf("encoding again says %v", err)
		}
		again, err := decodeLog(e.payload, e.results)
		if err != nil {
			t.Fatalf("decoding again says %v", err)
		}
		if !reflect.DeepEqual(slices.Collect(again.All()), slices.Collect(l.All())) {
			t.Fatalf("the log comes back as another one:\n%+v\n%+v", again, l)
		}
	}
}

func seed(f *testing.F, add func([]byte)) {
	paths, err := filepath.Glob("testdata/*.tar.gz")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range paths {
		p, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		add(p)
	}
	add(pack(f, smallTree(f), testLog(1), nil))
}

func gunzipped(p []byte) ([]byte, bool) {
	g := newGunzip(context.Background(), bytes.NewReader(p), 1<<20)
	defer g.close()
	var out bytes.Buffer
	_, err := out.ReadFrom(g)
	return out.Bytes(), err == nil
}

// fuzzLoad loads p. What it holds is within the limits, and packs and loads
// again to the same tree; its end has the same log.
func fuzzLoad(t *testing.T, p []byte) {
	tree, log, err := load(t, p, &ReaderOptions{Limits: &fuzzLimits, Devices: true})
	if err != nil {
		if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Fatalf("Load says %v", err)
		}
		return
	}
	want := dump(t, tree)
	fromEnd, err := ReadLog(bytes.NewReader(p), int64(len(p)))
	if !reflect.DeepEqual(fromEnd, log) || log != nil && err != nil {
		t.Fatalf("its end has the log %+v, %v, and the stream %+v", fromEnd, err, log)
	}
	if log == nil {
		log = testLog(0)
	}
	opts := &WriterOptions{Limits: &fuzzLimits, Devices: true}
	if err := Check(context.Background(), tree, opts); err != nil {
		t.Fatalf("Check of what was loaded says %v", err)
	}
	again, gotLog, err := load(t, pack(t, tree, log, opts), &ReaderOptions{Limits: &fuzzLimits, Devices: true})
	if err != nil {
		t.Fatalf("Load of what was packed says %v", err)
	}
	wantSame(t, packed(want), dump(t, again))
	log.Record.Root = gotLog.Record.Root
	if !reflect.DeepEqual(log, gotLog) {
		t.Errorf("log is %+v, want %+v", gotLog, log)
	}
}

// smallTree has an entry of each kind.
func smallTree(tb testing.TB) *fs.Tree {
	tree := newTree(tb)
	m := maker{tb, tree}
	m.dir("dir")
	m.file("dir/a", randomText(20000))
	m.file("dir/b", "b")
	m.symlink("dir/s", "a")
	m.link("link", "dir/b")
	m.node("pipe", syscall.S_IFIFO|0o600, 0)
	m.xattr("dir/a", "user.x", "y")
	m.age()
	m.mtime("dir/b", -5, 7)
	return tree
}

// flips is how many random changes TestRandomDamage makes.
const flips = 2000

// Any bit of an archive may change, and any run of bytes be lost or doubled: that
// is found, or makes no difference to the tree and the log.
func TestRandomDamage(t *testing.T) {
	tree := smallTree(t)
	archive := pack(t, tree, testLog(30), nil)
	tar := len(archive) - len(tailOf(t, archive))
	want := dump(t, tree)
	_, wantLog := mustLoad(t, archive, nil)
	r := rand.New(rand.NewPCG(3, 4))
	home, err := fs.NewArenaHome(1 << 26)
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	for i := range flips {
		bad := damage(r, archive)
		if bytes.Equal(bad, archive) {
			continue
		}
		got, err := fs.New(home, nil)
		if err != nil {
			t.Fatal(err)
		}
		log, err := NewReader(bytes.NewReader(bad), nil).Load(context.Background(), got)
		switch {
		case err == nil:
			lines := dump(t, got)
			lostLog := log == nil && bytes.Equal(bad, archive[:tar])
			if lostLog { // with the log goes what it says about the root
				lines[0] = want[0]
			}
			if !slices.Equal(lines, want) || !lostLog && !reflect.DeepEqual(log, wantLog) {
				t.Fatalf("damage %d was not found:\n%s%v", i, diff(want, lines), log)
			}
		case !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit):
			t.Fatalf("damage %d: Load says %v", i, err)
		}
		if err := got.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// damage returns p with one bit flipped, or cut off, or a run of it lost or doubled.
func damage(r *rand.Rand, p []byte) []byte {
	at, n := r.IntN(len(p)), 1+r.IntN(300)
	end := min(at+n, len(p))
	switch r.IntN(8) {
	case 0:
		return p[:at]
	case 1:
		return slices.Concat(p[:at], p[end:])
	case 2:
		return slices.Concat(p[:end], p[at:])
	default:
		return flip(p, at, 1<<r.IntN(8))
	}
}
