package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

// A log is read by Load, as the archive streams by, and by ReadLog, from its end
// alone. They differed: a NUL byte behind an archive hid its log from both without a
// word, and a changed byte in the footer's own gzip header was accepted by the one
// and refused by the other.

// stepArchive returns an archive with a log that has results, the log, and where what
// stands behind the tar begins.
func stepArchive(t *testing.T) (archive []byte, log *Log, tail int) {
	t.Helper()
	tree := newTree(t)
	maker{t, tree}.mtime("", 1, 2)
	archive = pack(t, tree, stepLog(2, 1, 9), nil)
	_, log = mustLoad(t, archive, nil)
	return archive, log, len(archive) - len(tailOf(t, archive))
}

// doors reads the log of an archive both ways, and checks that neither door lets
// pass what the other refuses.
func doors(t *testing.T, what string, archive []byte) (*Log, error) {
	t.Helper()
	_, streamed, err := load(t, archive, nil)
	fromEnd, endErr := ReadLog(bytes.NewReader(archive), int64(len(archive)))
	for _, err := range []error{err, endErr} {
		if err != nil && !errors.Is(err, ErrFormat) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if (err == nil) != (endErr == nil) || err == nil && !reflect.DeepEqual(streamed, fromEnd) {
		t.Fatalf("%s: Load returns %v, %v; ReadLog returns %v, %v", what, streamed, err, fromEnd, endErr)
	}
	return streamed, err
}

func TestDoorsAgreeOnEveryBit(t *testing.T) {
	archive, want, tail := stepArchive(t)
	f, err := footerAt(archive)
	if err != nil {
		t.Fatal(err)
	}
	for bit := tail * 8; bit < len(archive)*8; bit++ {
		if int64(bit/8) >= f.index.off && bit/8 < len(archive)-footerSize {
			// The log does not depend on the index, and who asks for it does not read that.
			p := flip(archive, bit/8, 1<<(bit%8))
			if log, err := ReadLog(bytes.NewReader(p), int64(len(p))); err != nil || !reflect.DeepEqual(log, want) {
				t.Fatalf("bit %d of byte %d of the index changed: the log is %+v, %v", bit%8, int64(bit/8)-f.index.off, log, err)
			}
			continue
		}
		log, err := doors(t, "a bit changed", flip(archive, bit/8, 1<<(bit%8)))
		if err == nil && !reflect.DeepEqual(log, want) {
			t.Fatalf("bit %d of byte %d changed: the log is %+v", bit%8, bit/8-tail, log)
		}
	}
}

func TestDoorsAgreeOnEveryCut(t *testing.T) {
	archive, _, tail := stepArchive(t)
	for n := tail + memberHead; n < len(archive); n++ {
		if log, err := doors(t, "cut", archive[:n]); err == nil {
			t.Fatalf("cut %d bytes behind the tar: the log is %+v", n-tail, log)
		}
	}
	// So little of the log shows nothing; the stream does.
	for n := range tail + memberHead {
		p := archive[:n]
		if _, err := FindLog(t.Context(), bytes.NewReader(p), int64(n)); (err == nil) != (n == tail) {
			t.Fatalf("cut at byte %d of %d before the log: FindLog says %v", n, tail, err)
		}
	}
}

func TestDoorsAgreeOnPadding(t *testing.T) {
	archive, want, _ := stepArchive(t)
	for _, n := range []int{1, 9, 10, 11, 153, 154, 511, 512, tailRead - 20, tailRead, 5*tailRead + 3} {
		log, err := doors(t, "padded", append(bytes.Clone(archive), make([]byte, n)...))
		if err != nil || !reflect.DeepEqual(log, want) {
			t.Errorf("%d zeros behind: the log is %+v, %v", n, log, err)
		}
	}
	for name, more := range map[string][]byte{
		"newline":            []byte("\n"),
		"zeros and more":     append(make([]byte, 100), 'x'),
		"an empty member":    gz(nil),
		"a member":           gz([]byte("more")),
		"another archive":    tgz(fileHead("f", 0)),
		"an archive of ours": archive,
		"its footer":         archive[len(archive)-footerSize:],
		"its log":            tailOf(t, archive),
	} {
		p := slices.Concat(archive, more)
		if log, err := doors(t, name, p); err == nil {
			t.Errorf("%s behind: the log is %+v", name, log)
		}
	}
}

// Who does not ask for a step gets the tree of an archive whose log is lost, and
// commits on it; no step may then be taken for one that was never committed.
func TestLostLog(t *testing.T) {
	archive, _, tail := stepArchive(t)
	want, _ := mustLoad(t, archive, nil)
	newer := bytes.Clone(archive)
	foot := newer[len(newer)-footerSize:]
	foot[memberHead+footFlags] = 1
	binary.LittleEndian.PutUint32(foot[memberHead+footCRC:], crc32c(foot[:memberHead+footCRC]))
	for name, c := range map[string]struct {
		archive []byte
		ok      bool
	}{
		"damaged":       {flip(archive, len(archive)-footerSize+8, 1), true},
		"followed":      {append(bytes.Clone(archive), "more"...), true},
		"cut":           {archive[:len(archive)-1], false}, // gzip refuses it
		"damaged tar":   {flip(archive, tail-5, 1), false},
		"newer version": {newer, false},
	} {
		var warned []string
		got, log, err := load(t, c.archive, &ReaderOptions{LostLog: true, Warn: func(w Warning) { warned = append(warned, w.Text) }})
		if !c.ok {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("%s: Load says %v", name, err)
			}
			continue
		}
		if err != nil || !log.Lost() || log.Len() != 0 || log.ReachesBack(time.Now()) || len(warned) == 0 {
			t.Fatalf("%s: Load returns %+v, %v and warns %q", name, log, err, warned)
		}
		maker{t, got}.mtime("", 1, 2) // the log knew it
		wantSame(t, dump(t, want), dump(t, got))
		now := time.Now().UTC()
		next := log.Next(Record{ID: NewCommitID(), Time: now})
		_, next = mustLoad(t, pack(t, got, next, nil), nil)
		if next.Len() != 1 || next.Record.Parent == "" || next.ReachesBack(now.Add(-time.Hour)) || !next.ReachesBack(now.Add(time.Hour)) {
			t.Errorf("%s: the log upon it is %+v", name, next.Record)
		}
	}
}

// FindLog reads all of an archive that has no log at its end only if it can be ours.
func TestEveryArchiveOfOursCanBe(t *testing.T) {
	for _, level := range []int{0, 1, 6, 9} {
		archive := pack(t, fullTree(t), testLog(1), &WriterOptions{Level: level})
		if !canBeOurs(archive[:gzipHeader]) {
			t.Errorf("at level %d the gzip header is %x", level, archive[:gzipHeader])
		}
	}
}
