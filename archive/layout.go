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
	p.runs = []run{{parts: append(p.headParts(), p.newParts()...)}}
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

// headParts returns the directories with late links, if any, parents first, each followed by
// those links. They come before everything else: bsdtar sets the time of a directory at the
// end only if it created the directory for its own entry.
func (p *packing) headParts() []part {
	var rows []uint32
	for row := uint32(1); row < uint32(p.x.rows()); row++ {
		if links := p.x.lateLinks(row); len(links) > 0 {
			rows = append(append(rows, row), links...)
		}
	}
	return partOf(rows)
}

// partOf returns rows as a part; no part without rows.
func partOf(rows []uint32) []part {
	if len(rows) == 0 {
		return nil
	}
	return []part{{rows: rows}}
}

// newParts returns the rewritten rows that move, in the order in which they follow headParts
// and the kept segments: small files and the like, big files, hard links, and the other
// directories, children first, since creating an entry changes its directory's time. The end
// of the tar follows.
func (p *packing) newParts() []part {
	var small, links, dirs []uint32
	var big []part
	for row := uint32(1); row < uint32(p.x.rows()); row++ {
		size := p.x.size(row)
		switch k := p.x.kind(row); {
		case !p.moves[row] || k != kindDir && p.x.late(row):
		case k == kindDir:
			if len(p.x.lateLinks(row)) == 0 {
				dirs = append(dirs, row)
			}
		case k == kindLink:
			links = append(links, row)
		case isBig(size):
			big = append(big, part{file: row, header: true, to: chunks(size)})
		default:
			small = append(small, row)
		}
	}
	slices.Reverse(dirs)
	return slices.Concat(partOf(small), big, partOf(links), partOf(dirs), partOf([]uint32{tarEnd}))
}

// lateLinks returns the late links in a directory; none for any other row.
func (x *index) lateLinks(dir uint32) (rows []uint32) {
	first, n := x.children(dir)
	for row := first; row < first+n; row++ {
		if x.kind(row) == kindSymlink && x.late(row) {
			rows = append(rows, row)
		}
	}
	return rows
}

// late reports whether a row is placed apart from all content and rewritten by every commit: a
// directory, or a symbolic link that is absolute or leads up. GNU tar creates such links after
// everything else, and sets the time of their directory once more only if its entry was the
// last one outside of it. The root has no entry.
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

// content is the total size of all files, each counted once.
func (p *packing) content() (n int64) {
	for row := range uint32(p.x.rows()) {
		n += p.x.size(row)
	}
	return n
}
