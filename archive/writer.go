package archive

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/workdir/workdir/fs"
)

// WriterOptions configure how a tree is packed. The zero value is usable.
type WriterOptions struct {
	Limits   *Limits // nil for the defaults
	Portable bool    // refuse what Python's temporal-workdir cannot read
	Devices  bool    // store device nodes, which readers refuse by default
	Warn     func(Warning)
	// Progress is called now and then with the count of bytes of content packed,
	// from the goroutine that called WriteTree.
	Progress func(bytesIn int64)
	Level    int // of gzip, 1 to 9; 0 is DefaultLevel
	// Plain packs into one compressed stream without an index, format version 1: slightly
	// smaller, but opening it reads all of it.
	Plain bool
}

// DefaultLevel of compression.
const DefaultLevel = 6

// Writer writes one archive.
type Writer struct {
	w    io.Writer
	opts WriterOptions
}

// Summary describes a written archive.
type Summary struct {
	Entries int64
	Bytes   int64 // content of the files, each counted once
	Size    int64 // of the archive
}

// NewWriter returns a Writer to w. opts may be nil.
func NewWriter(w io.Writer, opts *WriterOptions) *Writer {
	wr := &Writer{w: w}
	if opts != nil {
		wr.opts = *opts
	}
	return wr
}

// Check returns an error if t cannot be packed: a *LimitError for the first limit of the
// reader that it exceeds, a *FormatError for an entry that no archive can hold, and with
// Portable a *PortableError with all offending paths. It reads names and attributes, no
// content, and ends with ctx. opts may be nil.
func Check(ctx context.Context, t *fs.Tree, opts *WriterOptions) error {
	var o WriterOptions
	if opts != nil {
		o = *opts
	}
	return newEntries(t, &o).each(ctx, func(*header, []byte, *fs.Inode) error { return nil })
}

// WriteTree packs t, which must not change meanwhile, followed by log; if log is nil the
// archive has no index. The record's root attributes are taken from the tree. Equal trees and
// equal logs have equal bytes.
//
// WriteTree can be called once. Errors: those of Check, the tree's errno, w's own
// error, the context's. After an error the written data is not an archive.
func (w *Writer) WriteTree(ctx context.Context, t *fs.Tree, log *Log) (Summary, error) {
	if w.opts.Plain {
		return w.writePlain(ctx, t, log)
	}
	p, err := newPacking(ctx, t, log, &w.opts)
	if err != nil {
		return Summary{}, err
	}
	out := &countWriter{w: w.w}
	if err := p.write(ctx, out, 0); err != nil {
		return Summary{}, err
	}
	return Summary{Entries: int64(p.x.rows()) - 1, Bytes: p.content(), Size: out.n}, nil
}

// countWriter counts the bytes written to w.
type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// level is the level of compression.
func (o *WriterOptions) level() int { return cmp.Or(o.Level, DefaultLevel) }

// writePlain is WriteTree for one stream.
func (w *Writer) writePlain(ctx context.Context, t *fs.Tree, log *Log) (Summary, error) {
	p := &packer{
		ctx: ctx, opts: &w.opts,
		entries: newEntries(t, &w.opts),
		sink:    &sink{w: w.w},
	}
	if err := p.tar(); err != nil {
		return Summary{}, err
	}
	if err := p.log(log); err != nil {
		return Summary{}, err
	}
	return Summary{Entries: p.count, Bytes: p.content, Size: p.sink.n}, nil
}

// readSize is how much content is read at once.
const readSize = 256 << 10

// packer writes one tree.
type packer struct {
	ctx     context.Context
	opts    *WriterOptions
	entries *entries
	sink    *sink
	out     *deflater
	buf     []byte

	count   int64
	content int64
	told    int64
}

// tar writes the gzip member that holds the tar.
func (p *packer) tar() (err error) {
	if p.out, err = newDeflater(p.sink, p.opts.level(), p.check); err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	p.buf = make([]byte, readSize)
	err = p.entries.each(p.ctx, p.entry)
	p.out.writeZeros(2 * blockSize)
	return p.out.close(err)
}

// check returns the reason to stop, if any.
func (p *packer) check() error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	return p.sink.failed()
}

// log writes the members after the tar.
func (p *packer) log(log *Log) error {
	if log == nil {
		return nil
	}
	root, err := p.entries.root()
	if err != nil {
		return err
	}
	stored := *log
	stored.Record.Root = root
	first := memberSum{packed: p.sink.n, raw: p.out.raw, crc: p.out.crc}
	tail, err := stored.tail(first, p.entries.meter.lim.LogBytes, nil)
	if err != nil {
		return err
	}
	if _, err := p.sink.Write(tail); err != nil {
		return err
	}
	return p.sink.failed()
}

// entry writes one entry, header and content.
func (p *packer) entry(h *header, blocks []byte, n *fs.Inode) error {
	if err := p.out.write(blocks); err != nil {
		return err
	}
	p.count++
	if h.size == 0 {
		return nil
	}
	if err := p.file(h, n); err != nil {
		return err
	}
	p.content += h.size
	p.out.writeZeros(padding(h.size))
	return nil
}

// file writes the content of a file. Holes are not read.
func (p *packer) file(h *header, n *fs.Inode) error {
	off := int64(0)
	for r, errno := range p.entries.tree.Data(n, 0, h.size) {
		if errno != 0 {
			return packErr(h.name, errno)
		}
		p.out.writeZeros(r.Off - off)
		off = r.End()
		if err := p.data(h, n, r.Off, off); err != nil {
			return err
		}
	}
	p.out.writeZeros(h.size - off)
	return nil
}

// data writes the bytes of a file from off to end.
func (p *packer) data(h *header, n *fs.Inode, off, end int64) error {
	for off < end {
		want := p.buf[:min(int64(len(p.buf)), end-off)]
		got, errno := p.entries.tree.ReadAt(n, want, off)
		if errno != 0 {
			return packErr(h.name, errno)
		}
		if got == 0 {
			return fmt.Errorf("pack %s: it was truncated during packing", quote(h.name))
		}
		if err := p.out.write(want[:got]); err != nil {
			return err
		}
		off += int64(got)
		p.progress(off)
	}
	return nil
}

// progressIn is how many bytes of content lie between two calls of Progress.
const progressIn = 4 << 20

// progress reports that off bytes of the current file are packed.
func (p *packer) progress(off int64) {
	if done := p.content + off; p.opts.Progress != nil && done-p.told >= progressIn {
		p.told = done
		p.opts.Progress(done)
	}
}
