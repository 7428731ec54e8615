package fusefs

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/workdir/workdir/fs"
)

// maxTestInodes is more than any test of a handler makes.
const maxTestInodes = 50_000

func testHandler(tb testing.TB, o *Options) *handler {
	tb.Helper()
	home, err := fs.NewArenaHome(64 << 20)
	if err != nil {
		tb.Fatal(err)
	}
	tree, err := fs.New(home, &fs.Options{MaxInodes: maxTestInodes})
	if err != nil {
		tb.Fatal(err)
	}
	h, err := newHandler(tree, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := tree.Close(); err != nil {
			tb.Error(err)
		}
		if err := home.Close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// each calls f with an empty request of each operation.
func each(f func(o op, in []byte)) {
	for i, operation := range operations {
		if operation.do != nil {
			f(op(i), packet(op(i), 1, 0, make([]byte, int(operation.size)-headerSize), "a\x00b\x00"))
		}
	}
}

func TestNoOperationPanicsOut(t *testing.T) {
	each(func(o op, in []byte) {
		h := testHandler(t, &Options{Logger: slog.New(slog.DiscardHandler)})
		h.table[o].do = func(*server, *request) fuse.Status { panic("as asked") }
		for _, when := range []string{"in", "after"} {
			if _, st, _ := send(h, in); st != fuse.EIO {
				t.Errorf("%s: %v %s a panic, want EIO", o, st, when)
			}
		}
		if err := h.tree.Err(); err == nil || !strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: the tree has %v, want the panic", o, err)
		}
	})
}

// A request is counted under its name, forgotten nodes one by one, and INTERRUPT and
// DESTROY, which ask for nothing, are not.
func TestEveryOperationIsCounted(t *testing.T) {
	h := testHandler(t, &Options{})
	h.server.negotiated(0, fakeKernel{})
	calls := map[string]uint64{}
	each(func(o op, in []byte) {
		r, _, _ := send(h, in)
		r.release()
		if o != opBatchForget && o != opInterrupt && o != opDestroy {
			calls[o.String()]++
		}
	})
	send(h, packet(opBatchForget, 0, 0, uint32(3), uint32(0), [6]uint64{90, 1, 91, 1, 92, 1}))
	calls["FORGET"] += 3
	for name, n := range calls {
		if got := h.stats()[name]; got != n {
			t.Errorf("%s: %d requests are counted, want %d", name, got, n)
		}
	}
	if got := len(h.stats()); got != len(calls) {
		t.Errorf("%d names are counted, want %d: %v", got, len(calls), h.stats())
	}
}

func TestReadOnlyRefusesEveryChange(t *testing.T) {
	allowed := map[op]bool{
		opLookup: true, opForget: true, opBatchForget: true, opGetAttr: true, opReadlink: true, opOpen: true, opRead: true,
		opStatFs: true, opRelease: true, opFsync: true, opGetXAttr: true, opListXAttr: true, opFlush: true,
		opOpenDir: true, opReadDir: true, opReadDirPlus: true, opReleaseDir: true, opFsyncDir: true,
		opAccess: true, opIoctl: true, opLseek: true, opStatx: true, opInterrupt: true, opDestroy: true,
	}
	h := testHandler(t, &Options{ReadOnly: true})
	h.server.negotiated(0, fakeKernel{})
	each(func(o op, in []byte) {
		r, st, _ := send(h, in)
		r.release()
		if (st == fuse.EROFS) == allowed[o] {
			t.Errorf("%s: %v, want EROFS unless it changes nothing", o, st)
		}
	})
}

// A request that is shorter than its operation's structure, or lacks a name, is EIO, and
// one of an unknown operation ENOSYS.
func TestMalformedRequests(t *testing.T) {
	h := testHandler(t, &Options{})
	h.server.negotiated(0, fakeKernel{})
	each(func(o op, in []byte) {
		if size := int(operations[o].size); size > headerSize {
			if _, st, _ := send(h, in[:size-1]); st != fuse.EIO {
				t.Errorf("%s of %d bytes: %v, want EIO", o, size-1, st)
			}
		}
	})
	for _, o := range []op{opLookup, opSymlink, opRename, opRename2, opMkdir, opSetXAttr, opGetXAttr, opUnlink} {
		in := packet(o, 1, 0, make([]byte, int(operations[o].size)-headerSize), "no end")
		if _, st, _ := send(h, in); st != fuse.EIO {
			t.Errorf("%s with a name that does not end: %v, want EIO", o, st)
		}
	}
	for _, o := range []op{0, 7, 31, 40, opCount, 1 << 30} {
		if _, st, answered := send(h, packet(o, 1, 0)); st != fuse.ENOSYS || !answered {
			t.Errorf("operation %d: %v, answered %v; want ENOSYS", o, st, answered)
		}
	}
	if _, _, answered := send(h, make([]byte, headerSize-1)); answered {
		t.Error("what has no header is answered")
	}
	if _, st, _ := send(h, packet(opRead, 1, 0, uint64(0), uint64(0), uint32(maxTransfer+1), [20]byte{})); st != fuse.EINVAL {
		t.Errorf("READ of more than there may be: %v, want EINVAL", st)
	}
}
