package fusefs

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// requests makes requests from the fuzzer's bytes, and sends them as a transport does.
type requests struct {
	data []byte
	h    *handler
	held map[uint64]uint64 // references that entries have given us, by node
}

// fakeKernel takes notice of nothing.
type fakeKernel struct{}

func (fakeKernel) InodeNotify(uint64, int64, int64) fuse.Status { return fuse.OK }

func (q *requests) byte() byte {
	if len(q.data) == 0 {
		return 0
	}
	b := q.data[0]
	q.data = q.data[1:]
	return b
}

// node is one of the first inodes, or none.
func (q *requests) node() uint64 { return uint64(q.byte() % 12) }

func (q *requests) name() string {
	names := [...]string{"a", "b", "c", "", ".", "..", "a/b", "\x00", "user.x", "system.x", string(make([]byte, 256)), "security.capability"}
	return names[int(q.byte())%len(names)] + "\x00"
}

// number is small, huge or negative.
func (q *requests) number() uint64 {
	b := uint64(q.byte())
	switch b >> 6 {
	case 0:
		return b
	case 1:
		return b << 12
	case 2:
		return 1<<63 - 1 - b
	}
	return -b
}

func (q *requests) word() uint32 { return uint32(q.number()) }

func (q *requests) flags() uint32 {
	return [...]uint32{
		unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_TRUNC, unix.O_RDONLY | unix.O_TRUNC, unix.O_WRONLY | unix.O_APPEND, 3, ^uint32(0),
	}[q.byte()%8]
}

// bodies are what follows the header of a request, by its operation: fields, and text.
var bodies = map[op]func(*requests) []any{
	opLookup:   func(q *requests) []any { return []any{q.name()} },
	opUnlink:   func(q *requests) []any { return []any{q.name()} },
	opRmdir:    func(q *requests) []any { return []any{q.name()} },
	opMkdir:    func(q *requests) []any { return []any{q.word(), uint32(0), q.name()} },
	opMknod:    func(q *requests) []any { return []any{uint32(q.byte())<<12 | 0o644, q.word(), uint64(0), q.name()} },
	opSymlink:  func(q *requests) []any { return []any{q.name(), q.name()} },
	opLink:     func(q *requests) []any { return []any{q.node(), q.name()} },
	opCreate:   func(q *requests) []any { return []any{q.flags(), q.word(), uint64(0), q.name()} },
	opTmpfile:  func(q *requests) []any { return []any{q.flags(), q.word(), uint64(0), q.name()} },
	opRename:   func(q *requests) []any { return []any{q.node(), q.name(), q.name()} },
	opRename2:  func(q *requests) []any { return []any{q.node(), uint64(q.byte() % 9), q.name(), q.name()} },
	opReadDir:  listBody,
	opReadlink: nothing,
	opOpen:     func(q *requests) []any { return []any{q.flags(), uint32(q.byte())} },
	opRelease:  func(*requests) []any { return []any{[24]byte{}} },
	opGetAttr:  func(q *requests) []any { return []any{uint64(q.byte() % 2), uint64(0)} },
	opSetAttr: func(q *requests) []any {
		return []any{uint32(q.byte())<<4 | uint32(q.byte()), uint32(0), uint64(0), q.number(), uint64(0), q.number(), q.number(), q.number(), [12]byte{}, q.word(), [16]byte{}}
	},
	opStatx:  func(*requests) []any { return []any{[24]byte{}} },
	opStatFs: nothing,
	opRead:   listBody,
	opWrite: func(q *requests) []any {
		data := make([]byte, q.byte())
		return []any{uint64(0), q.number(), uint32(len(data)), uint32(q.byte() &^ fuse.WRITE_CACHE), [16]byte{}, data}
	},
	opFallocate: func(q *requests) []any { return []any{uint64(0), q.number(), q.number(), uint64(q.byte())} },
	opLseek:     func(q *requests) []any { return []any{uint64(0), q.number(), uint64(q.byte() % 6)} },
	opCopyFileRange: func(q *requests) []any {
		return []any{uint64(0), q.number(), q.node(), uint64(0), q.number(), q.number(), uint64(0)}
	},
	opGetXAttr:  func(q *requests) []any { return []any{uint64(q.byte()), q.name()} },
	opListXAttr: func(q *requests) []any { return []any{uint64(q.byte())} },
	opSetXAttr: func(q *requests) []any {
		value := make([]byte, q.byte())
		return []any{uint32(len(value)), uint32(q.byte() % 4), q.name(), value}
	},
	opRemoveXAttr: func(q *requests) []any { return []any{q.name()} },
	opIoctl:       func(*requests) []any { return []any{[32]byte{}} },
	opAccess:      func(*requests) []any { return []any{uint64(0)} },
}

func nothing(*requests) []any { return nil }

func listBody(q *requests) []any {
	return []any{uint64(0), q.number(), uint32(q.byte()) * 8, [20]byte{}}
}

func init() {
	bodies[opReadDirPlus] = listBody
	for _, o := range []op{opOpenDir} {
		bodies[o] = bodies[opOpen]
	}
	for _, o := range []op{opFlush, opFsync, opFsyncDir, opReleaseDir} {
		bodies[o] = bodies[opRelease]
	}
}

// packet is a request as the kernel sends it.
func packet(o op, node uint64, uid uint32, fields ...any) []byte {
	var body bytes.Buffer
	for _, f := range fields {
		switch f := f.(type) {
		case string:
			body.WriteString(f)
		case []byte:
			body.Write(f)
		default:
			_ = binary.Write(&body, binary.NativeEndian, f) // a buffer takes everything
		}
	}
	size := headerSize + body.Len()
	in := make([]byte, (size+7)/8*8) // aligned, as its buffers are
	h := fuse.InHeader{Length: uint32(size), Opcode: uint32(o), NodeId: node, Caller: fuse.Caller{Owner: fuse.Owner{Uid: uid}}}
	copy(in, bytesOf(&h))
	copy(in[headerSize:], body.Bytes())
	return in[:size]
}

// send has h answer a request.
func send(h *handler, in []byte) (r *request, st fuse.Status, answered bool) {
	r = &request{passOn: func() {}}
	r.reset(in)
	st, answered = h.handle(r)
	return r, st, answered
}

// one sends one request of any kind.
func (q *requests) one() {
	o, node, uid := op(q.byte())%opCount, q.node(), uint32(q.byte())
	switch {
	case o == opForget || o == opBatchForget:
		q.forget(o, node)
		return
	case bodies[o] == nil:
		send(q.h, packet(o, node, uid, make([]byte, q.byte())))
		return
	}
	in := packet(o, node, uid, bodies[o](q)...)
	if q.byte() == 255 { // one that is cut off
		in = in[:min(len(in), int(q.byte()))]
	}
	r, st, _ := send(q.h, in)
	defer r.release()
	if st != fuse.OK {
		return
	}
	switch o {
	case opLookup, opMkdir, opMknod, opSymlink, opLink, opCreate, opTmpfile:
		q.keep(answered[fuse.EntryOut](r))
	case opReadDirPlus:
		_, entries, err := fuse.ParseDirLookupEntries(r.payload)
		if err != nil {
			panic(err)
		}
		for i := range entries {
			q.keep(&entries[i])
		}
	}
}

// answered is the structure that an answer begins with.
func answered[T any](r *request) *T {
	was := *r
	out := answer[T](&was)
	copy(bytesOf(out), bytesOf(&r.fixed))
	return out
}

func (q *requests) keep(e *fuse.EntryOut) {
	if e.NodeId > 1 {
		q.held[e.NodeId]++
	}
}

// forget returns some of the references to a node, if any.
func (q *requests) forget(o op, node uint64) {
	n := q.held[node]
	if n == 0 {
		return
	}
	n = uint64(q.byte())%n + 1
	q.held[node] -= n
	if o == opForget {
		send(q.h, packet(o, node, 0, n))
		return
	}
	send(q.h, packet(o, 0, 0, uint32(2+q.byte()%3), uint32(0), node, n-1, node, uint64(1))) // it may say of more than there are
}

// FuzzRequests holds the adapter to this: whatever comes through the device, no
// operation panics, and when the kernel has forgotten everything, nothing but the
// named inodes is left.
func FuzzRequests(f *testing.F) {
	f.Add([]byte("\x23\x01\x00\x00\x00\x00\x00\x10\x02\x00\x10\x00\x00"))
	f.Add([]byte("mknod, write, rename, and so on, in any order of bytes that comes to mind"))
	f.Add([]byte(strings.Repeat("\x09\x01\x00\x00\x00\x00\x2c\x01\x00\x00\xff\x00\x0b\x01\x00\x00\x00\x2a\x02\x01", 4))) // mkdir, listing, rmdir, forget
	f.Fuzz(func(t *testing.T, data []byte) {
		q := &requests{data: data, h: testHandler(t, &Options{}), held: map[uint64]uint64{}}
		q.h.server.negotiated(^uint64(0), fakeKernel{})
		q.run(t)
	})
}

// run sends the requests, and in the end those by which a kernel lets go.
func (q *requests) run(t *testing.T) {
	t.Helper()
	for len(q.data) > 0 {
		q.one()
	}
	for node, n := range q.held {
		if n > 0 {
			send(q.h, packet(opForget, node, 0, n))
		}
	}
	if q.h.tree.Poisoned() {
		t.Fatalf("an operation panicked: %v", q.h.tree.Err())
	}
	checkForgotten(t, q.h.tree)
}

// checkForgotten checks a tree after the kernel has forgotten everything: exactly the names
// that can be reached count as inodes, and none is left when they are removed.
func checkForgotten(t *testing.T, tree *fs.Tree) {
	t.Helper()
	names := int64(0)
	err := tree.Walk(func(string, *fs.Inode, fs.Attr) error {
		names++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, inodes := tree.Usage(); inodes != names {
		t.Errorf("when all is forgotten %d inodes are counted, and there are %d names", inodes, names)
	}
	empty(t, tree, tree.Root())
	if _, inodes := tree.Usage(); inodes != 1 {
		t.Errorf("the tree is empty, and has %d inodes", inodes)
	}
}

// empty removes all names in a directory.
func empty(t *testing.T, tree *fs.Tree, dir *fs.Inode) {
	t.Helper()
	var names []string
	errno := tree.ReadDir(dir, 0, func(d fs.Dirent) bool {
		names = append(names, d.Name)
		return true
	})
	for _, name := range names {
		var n *fs.Inode
		if n, errno = tree.Lookup(dir, name); errno != 0 {
			break
		}
		remove := tree.Unlink
		if tree.Attr(n).Mode&unix.S_IFMT == unix.S_IFDIR {
			empty(t, tree, n)
			remove = tree.Rmdir
		}
		tree.Unref(n, 1)
		if errno = remove(dir, name); errno != 0 {
			break
		}
	}
	if errno != 0 {
		t.Fatal(errno)
	}
}
