package fusefs

import (
	"sync"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/workdir/workdir/fs"
)

// While a tree is paused every change waits, in both modes of writing, and passes its reader's
// place on; what changes nothing is answered.
func TestPaused(t *testing.T) {
	for name, caps := range map[string]uint64{"writeback": fuse.CAP_WRITEBACK_CACHE, "write-through": 0} {
		t.Run(name, func(t *testing.T) {
			h := testHandler(t, &Options{})
			h.server.negotiated(caps, fakeKernel{})
			file, errno := h.tree.Mknod(h.tree.Root(), "f", 0o100644, 0, fs.Owner{})
			if errno != 0 {
				t.Fatal(errno)
			}
			c := &Conn{handler: h}
			var answers sync.WaitGroup
			waits := func(in []byte) {
				waiting := make(chan struct{})
				r := &request{passOn: sync.OnceFunc(func() { close(waiting) })}
				r.reset(in)
				answers.Go(func() {
					if st, _ := h.handle(r); st != fuse.OK {
						t.Errorf("%s: %v", op(r.header().Opcode), st)
					}
				})
				<-waiting
			}
			err := c.Paused(func() error {
				waits(packet(opMkdir, 1, 0, uint32(0o755), uint32(0), "d\x00"))
				waits(packet(opWrite, file.Ino(), 0, uint64(0), uint64(0), uint32(4), uint32(0), [16]byte{}, []byte("text")))
				for _, in := range [][]byte{
					packet(opLookup, 1, 0, "f\x00"),
					packet(opGetAttr, file.Ino(), 0, uint64(0), uint64(0)),
				} {
					r, st, _ := send(h, in)
					r.release()
					if st != fuse.OK {
						t.Errorf("%s: %v", op(r.header().Opcode), st)
					}
				}
				if _, errno := h.tree.Lookup(h.tree.Root(), "d"); errno == 0 || h.tree.Attr(file).Size != 0 {
					t.Error("the tree was changed")
				}
				return nil
			})
			answers.Wait()
			if _, errno := h.tree.Lookup(h.tree.Root(), "d"); err != nil || errno != 0 || h.tree.Attr(file).Size != 4 {
				t.Errorf("afterwards: %v, %v, %+v", err, errno, h.tree.Attr(file))
			}
		})
	}
}
