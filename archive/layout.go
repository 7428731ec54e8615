package archive

import (
	"context"
	"slices"
	"strings"

	"github.com/workdir/workdir/fs"
)

// newPacking returns a packing of t that copies nothing.
func newPacking(ctx context.Context, t *fs.Tree, log *Log, opts *WriterOptions) (*packing, error) {
	e := newEntries(t, opts)
	b := newRowBuilder(e, nil)
	root, err := b.addRoot()
	if err != nil {
		return nil, err
	}
	err = e.each(ctx, func(h *header, _ []byte, n *fs.Inode) error {
		b.add(h, n)
		return nil
	})
	if err != nil {
		return nil, err
	}
	p, err := newPackingOf(b, log, root, opts)
	if err != nil {
		return nil, err
	}
	for row := range p.moves {
		p.moves[row] = true
	}
	p.runs = []run{{parts: p.newParts()}}
	return p, nil
}

// newPackingOf returns a packing of the rows of b, without runs.
func newPackingOf(b *rowBuilder, log *Log, root RootAttr, opts *WriterOptions) (*packing, error) {
	id := []byte(noID)
	p := &packing{opts: opts, lim: b.entries.meter.lim, tree: b.entries.tree, base: b.base}
	if log != nil {
		stored := *log
		stored.Record.Root = root
		p.log = &stored
		var err error
		if id, err = log.Record.ID.bytes(); err != nil {
			return nil, err
		}
	}
	t := b.table(string(id))
	p.x, p.ino = t.x, t.ino
	p.moves = make([]bool, p.x.rows())
	return p, nil
}

// newParts returns what is written anew of rows that move, in the order in which it
// stands behind all that is kept: small files and the like, big files, further names,
// and directories, children first, since what is put into a directory changes its time.
// The end of the tar follows.
func (p *packing) newParts() []part {
	var small, links, dirs []uint32
	var big []part
	for row := uint32(1); row < uint32(p.x.rows()); row++ {
		size := p.x.size(row)
		switch k := p.x.kind(row); {
		case !p.moves[row] || k != kindDir && p.x.late(row):
		case k == kindDir:
			dirs = append(dirs, row)
		case k == kindLink:
			links = append(links, row)
		case isBig(size):
			big = append(big, part{file: row, header: true, to: chunks(size)})
		default:
			small = append(small, row)
		}
	}
	var parts []part
	add := func(rows []uint32) {
		if len(rows) > 0 {
			parts = append(parts, part{rows: rows})
		}
	}
	add(small)
	parts = append(parts, big...)
	add(links)
	add(p.x.lateRows(dirs))
	add([]uint32{tarEnd})
	return parts
}

// lateRows returns directories, given by rows, in the order in which they stand at the
// end, each with its late links behind it.
func (x *index) lateRows(dirs []uint32) (rows []uint32) {
	for _, dir := range slices.Backward(dirs) {
		rows = append(rows, dir)
		first, n := x.children(dir)
		for row := first; row < first+n; row++ {
			if x.kind(row) == kindSymlink && x.late(row) {
				rows = append(rows, row)
			}
		}
	}
	return rows
}

// late reports whether a row stands behind all contents: a directory, or a symbolic link
// that is absolute or leads up. GNU tar makes those when all else is done, and sets the
// time of their directory once more only where its entry was the last one outside of it.
// The root has no entry.
func (x *index) late(row uint32) bool {
	switch x.kind(row) {
	case kindDir:
		return true
	case kindSymlink:
		target := x.target(row)
		return x.parent(row) != 0 && (strings.HasPrefix(target, "/") || strings.Contains("/"+target+"/", "/../"))
	}
	return false
}

// tarEnd stands for the end of the tar among rows: the root has no header.
const tarEnd = 0

// content is how many bytes all files have, each once.
func (p *packing) content() (n int64) {
	for row := range uint32(p.x.rows()) {
		n += p.x.size(row)
	}
	return n
}
