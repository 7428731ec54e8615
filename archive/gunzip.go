package archive

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime/debug"
	"sync"

	"github.com/klauspost/compress/flate"
)

// readError is an error of the archive's source, as opposed to one of the archive.
type readError struct{ err error }

func (e *readError) Error() string { return "read archive: " + e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

const (
	pieceSize   = 256 << 10 // raw bytes handed over at once
	piecesAhead = 6         // the maximum number that wait for the parser
	inputBuffer = 128 << 10
	maxHeadText = 1 << 16 // a member's name or comment
)

// gunzip decompresses a chain of gzip members ahead of its reader, in its own goroutine. The
// stream of raw bytes ends with io.EOF once every member was checked to its last byte. Members
// of a commit log are collected on the way.
type gunzip struct {
	ctx    context.Context // ends Read
	in     *bufio.Reader
	src    *countReader
	inf    io.ReadCloser // flate, also a flate.Resetter
	tail   tailReader
	pieces chan piece
	free   chan []byte
	done   chan struct{}
	wg     sync.WaitGroup

	// Owned by the goroutine until pieces is closed, by the reader afterwards.
	err     error // why the stream ended; nil at its regular end
	fill    []byte
	garbage bool // something other than a gzip member followed

	// Owned by the reader.
	cur  piece
	left []byte // of cur, not yet read
	read int64  // compressed bytes of what was read
	fail error
}

// piece is a run of raw bytes and the count of compressed bytes up to its end.
type piece struct {
	raw    []byte
	packed int64
}

// newGunzip starts to decompress r. The caller calls close before r is used elsewhere.
func newGunzip(ctx context.Context, r io.Reader, maxLog int64) *gunzip {
	src := &countReader{r: r}
	in := bufio.NewReaderSize(src, inputBuffer)
	g := &gunzip{
		ctx: ctx, in: in, src: src, inf: flate.NewReader(in),
		tail:   tailReader{maxLog: maxLog},
		pieces: make(chan piece, piecesAhead),
		free:   make(chan []byte, piecesAhead+2),
		done:   make(chan struct{}),
	}
	src.tail = &g.tail
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		defer close(g.pieces)
		defer func() {
			if r := recover(); r != nil { // otherwise it would end the process
				g.err = fmt.Errorf("gunzip: panic: %v\n%s", r, debug.Stack())
			}
		}()
		g.err = g.members()
	}()
	return g
}

// close stops the goroutine and waits until it no longer reads its source.
func (g *gunzip) close() {
	close(g.done)
	for range g.pieces { // makes room, so that the goroutine sees done
	}
	g.wg.Wait()
}

// Read returns raw bytes. Errors are sticky.
func (g *gunzip) Read(p []byte) (int, error) {
	for len(g.left) == 0 {
		if err := g.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, g.left)
	g.left = g.left[n:]
	return n, nil
}

// discard reads n bytes and drops them. io.EOF if there are less.
func (g *gunzip) discard(n int64) error {
	for n > 0 {
		if len(g.left) == 0 {
			if err := g.next(); err != nil {
				return err
			}
		}
		k := min(n, int64(len(g.left)))
		g.left = g.left[k:]
		n -= k
	}
	return nil
}

// next takes the next piece; io.EOF at the regular end.
func (g *gunzip) next() error {
	if g.fail == nil {
		g.fail = g.ctx.Err()
	}
	if g.fail != nil {
		return g.fail
	}
	if g.cur.raw != nil {
		g.free <- g.cur.raw[:0] // has room for all existing buffers
		g.cur = piece{}
	}
	p, ok := <-g.pieces
	if !ok {
		g.fail, g.read = g.err, g.src.n
		if g.fail == nil {
			g.fail = io.EOF
		}
		return g.fail
	}
	g.cur, g.left, g.read = p, p.raw, p.packed
	return nil
}

var errClosed = errors.New("closed")

// members decompresses all members.
func (g *gunzip) members() error {
	if err := g.sniff(); err != nil {
		return err
	}
	for {
		head, err := g.header()
		if err == nil {
			err = g.member(head)
		}
		if err != nil {
			return g.cause(err)
		}
		more, err := g.more()
		if err != nil {
			return g.cause(err)
		}
		if !more {
			return g.flush()
		}
	}
}

// cause distinguishes errors of the source from errors of the archive.
func (g *gunzip) cause(err error) error {
	var f *FormatError
	var l *LimitError
	switch {
	case g.src.err != nil:
		return &readError{g.src.err}
	case errors.Is(err, errClosed), errors.As(err, &f), errors.As(err, &l):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return formatErr("", "it is cut off after %d bytes", g.src.n)
	default:
		return &FormatError{Reason: fmt.Sprintf("the compressed data is damaged near byte %d", g.offset()), Err: err}
	}
}

// offset is the position in the compressed stream.
func (g *gunzip) offset() int64 { return g.src.n - int64(g.in.Buffered()) }

// sniff refuses anything but a gzip file, with an error that names what it looks like.
func (g *gunzip) sniff() error {
	head, err := g.in.Peek(262)
	if len(head) < 2 && err != nil && err != io.EOF {
		return g.cause(err)
	}
	if isGzip(head) {
		return nil
	}
	return formatErr("", "not a tar.gz: it is %s", looksLike(head))
}

// more reports whether another member follows. Zeros up to the end are padding; anything else
// is garbage.
func (g *gunzip) more() (bool, error) {
	head, err := g.in.Peek(2)
	if err != nil && err != io.EOF {
		return false, err
	}
	if len(head) == 0 {
		return false, nil
	}
	if isGzip(head) {
		return true, nil
	}
	if len(head) == 1 && head[0] == 0x1f {
		return false, io.ErrUnexpectedEOF // the first byte of a member
	}
	return false, g.skipGarbage()
}

// skipGarbage reads the data after the last member to its end.
func (g *gunzip) skipGarbage() error {
	buf := make([]byte, 4<<10)
	for {
		n, err := g.in.Read(buf)
		g.garbage = g.garbage || len(bytes.Trim(buf[:n], "\x00")) > 0
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// member decompresses one member's body into pieces and checks its trailer.
func (g *gunzip) member(h memberInfo) error {
	if err := g.inf.(flate.Resetter).Reset(g.in, nil); err != nil {
		return err
	}
	sum := memberSum{}
	for {
		n, err := g.inf.Read(g.room())
		got := g.fill[len(g.fill) : len(g.fill)+n]
		sum.crc = crc32.Update(sum.crc, crc32.IEEETable, got)
		sum.raw += int64(n)
		g.fill = g.fill[:len(g.fill)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if len(g.fill) == cap(g.fill) {
			if err := g.flush(); err != nil {
				return err
			}
		}
	}
	trailer, err := g.trailer(sum)
	if err != nil {
		return err
	}
	sum.packed = g.offset() - h.start
	follow, err := g.in.Peek(g.in.Buffered())
	g.tail.member(h, sum, trailer[:], follow)
	return err
}

// room returns the free part of the piece being filled, at least a byte.
func (g *gunzip) room() []byte {
	if g.fill == nil {
		select {
		case g.fill = <-g.free:
		default:
			g.fill = make([]byte, 0, pieceSize)
		}
	}
	return g.fill[len(g.fill):cap(g.fill)]
}

// flush hands over the piece being filled.
func (g *gunzip) flush() error {
	if len(g.fill) == 0 {
		return nil
	}
	p := piece{raw: g.fill, packed: g.offset()}
	g.fill = nil
	select {
	case g.pieces <- p:
		return nil
	case <-g.done:
		return errClosed
	}
}

// trailer reads the trailer of a member, and checks the member against it.
func (g *gunzip) trailer(sum memberSum) (b [gzipTrailer]byte, err error) {
	if _, err := io.ReadFull(g.in, b[:]); err != nil {
		return b, err
	}
	if binary.LittleEndian.Uint32(b[:4]) != sum.crc {
		return b, formatErr("", "the content does not have its checksum (CRC-32): the archive is damaged")
	}
	if binary.LittleEndian.Uint32(b[4:]) != uint32(sum.raw) {
		return b, formatErr("", "the content does not have its length (ISIZE): the archive is damaged")
	}
	return b, nil
}

// countReader counts the bytes read, passes them to tail and keeps the reader's own error.
type countReader struct {
	r    io.Reader
	tail *tailReader
	n    int64
	err  error // other than io.EOF
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.tail.add(p[:n])
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}
