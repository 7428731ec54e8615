package fusefs

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// newFiles makes n empty files in directories of 1,000, by the requests that the kernel
// sends for each.
func newFiles(tb testing.TB, h *handler, n int) {
	tb.Helper()
	var r request
	r.passOn = func() {}
	ask := func(o op, node uint64, fields ...any) *fuse.EntryOut {
		r.reset(packet(o, node, 0, fields...))
		if st, _ := h.handle(&r); st != fuse.OK {
			tb.Fatalf("%v: %v", o, st)
		}
		return answered[fuse.EntryOut](&r)
	}
	dir := uint64(1)
	for i := range n {
		if i%1000 == 0 {
			dir = ask(opMkdir, 1, uint32(0o755), uint32(0), fmt.Sprint("directory-", i, "\x00")).NodeId
		}
		name := fmt.Sprintf("file-%08d.go\x00", i)
		ask(opLookup, dir, name)
		ask(opGetAttr, dir, uint32(0), uint32(0), uint64(0))
		file := ask(opCreate, dir, uint32(1), uint32(0o644), uint32(0), uint32(0), name).NodeId
		ask(opRelease, file, make([]byte, 24))
	}
}

// perNewFile is what f allocates on the heap for each of n files, in bytes, garbage
// included.
func perNewFile(n int, f func()) float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return float64(after.TotalAlloc-before.TotalAlloc) / float64(n)
}

// Making many of something must not leave garbage behind, or the server takes several times
// as much memory as it needs.
func TestNewFilesLeaveNoGarbage(t *testing.T) {
	const files, most = 20000, 250
	h := testHandler(t, &Options{})
	h.server.negotiated(capabilities, fakeKernel{})
	// The requests themselves are garbage, which another tree that refuses them all measures.
	refusing := testHandler(t, &Options{})
	for i := range refusing.table {
		refusing.table[i].do = func(*server, *request) fuse.Status { return fuse.OK }
	}
	got := perNewFile(files, func() { newFiles(t, h, files) }) - perNewFile(files, func() { newFiles(t, refusing, files) })
	t.Logf("%.0f bytes", got)
	if got > most {
		t.Errorf("a new file allocates %.0f bytes, want at most %d", got, most)
	}
}
