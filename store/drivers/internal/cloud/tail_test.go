package cloud

import (
	"bytes"
	"io"
	"testing"

	"github.com/workdir/workdir/store"
)

// An archive that is opened for its end brings it with the first request, whole though
// the connection breaks. What lies before it is asked for when it is read.
func TestOpenTail(t *testing.T) {
	content := large(2)
	content[0]++ // so that the beginning is not the end
	size, end := int64(len(content)), int64(1000)
	tests := []struct {
		name   string
		tail   int64
		faults []fault
		off, n int64
		again  bool
		want   []string
	}{
		{"the end", end, nil, size - end, end, false, []string{"get"}},
		{"a part of the end", end, nil, size - 10, 10, false, []string{"get"}},
		{"the end, twice", end, nil, size - end, end, true, []string{"get", "get"}},
		{"a part of the end, twice", end, nil, size - 10, 10, true, []string{"get"}},
		{"more than the end", end, nil, size - end - 1, end + 1, false, []string{"get", "get"}},
		{"the beginning", end, nil, 0, 10, false, []string{"get", "get"}},
		{"an end that breaks off", end, []fault{cut(7)}, size - end, end, false, []string{"get", "get"}},
		{"busy at first", end, []fault{refuse(Busy)}, size - end, end, false, []string{"get", "get"}},
		{"no end", 0, nil, size - end, end, false, []string{"head", "get"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.noError(f.put("key", content, f.base.Revision, nil))
			f.m.sent()
			f.m.fails("get", tt.faults...)
			o, err := store.OpenTail(t.Context(), f.s, "key", tt.tail)
			f.noError(err)
			defer o.Close()
			for range map[bool]int{false: 1, true: 2}[tt.again] {
				p := make([]byte, tt.n)
				n, err := o.ReadAt(p, tt.off)
				if err == io.EOF && tt.off+tt.n == size {
					err = nil
				}
				f.noError(err)
				if !bytes.Equal(p[:n], content[tt.off:tt.off+tt.n]) {
					t.Errorf("%d bytes from %d are not those of the archive", n, tt.off)
				}
			}
			f.wantSent(tt.want...)
			if o.Info() != f.stat("key") {
				t.Errorf("the archive is %+v, want %+v", o.Info(), f.stat("key"))
			}
		})
	}
}

// A small archive is there with its end, and can be read as a stream too.
func TestOpenTailOfAll(t *testing.T) {
	f := newFixture(t)
	f.m.sent()
	o, err := store.OpenTail(t.Context(), f.s, "key", 1<<20)
	f.noError(err)
	defer o.Close()
	p := make([]byte, len(baseContent))
	if n, _ := o.ReadAt(p, 0); n != len(p) || !bytes.Equal(p, baseContent) {
		t.Errorf("ReadAt returns %q", p[:n])
	}
	got, err := io.ReadAll(o)
	f.noError(err)
	if !bytes.Equal(got, baseContent) {
		t.Errorf("Read returns %q", got)
	}
	f.wantSent("get")
}
