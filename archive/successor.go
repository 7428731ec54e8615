package archive

import (
	"cmp"
	"context"
	"slices"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// A tree based on an archive with an index becomes its successor: segments whose entries are
// all unchanged are copied, and everything else is rewritten after them. Nothing dead is
// copied, so nothing has to be compacted later. A changed big file stays in place, with a new
// header, and new chunks between the copied ones.

// successor plans such an archive.
type successor struct {
	ctx    context.Context
	t      *fs.Tree
	base   *index
	states []fs.RowState
	relink []bool // rows of files whose names have changed
	e      *entries
	b      *rowBuilder
	p      *packing

	rowOf []uint32          // row by unchanged row of base; 0 for none
	drop  []bool            // segments of base that are not copied as a whole
	heirs map[uint32]uint32 // rows of big files by the row of base whose content they started from
}

// newSuccessor returns how t, which is based on the image of base, becomes an archive.
func newSuccessor(ctx context.Context, t *fs.Tree, base *index, log *Log, opts *WriterOptions) (*packing, error) {
	if opts.Portable {
		if err := Check(ctx, t, opts); err != nil { // unchanged entries count too
			return nil, err
		}
	}
	s, err := prepareSuccessor(ctx, t, base, log, opts)
	if err != nil {
		return nil, err
	}
	s.dead()
	if s.scattered() {
		for i := range s.drop {
			s.drop[i] = true
		}
	}
	s.lay()
	return s.p, nil
}

// prepareSuccessor finds the rows of the new archive and their origins.
func prepareSuccessor(ctx context.Context, t *fs.Tree, base *index, log *Log, opts *WriterOptions) (*successor, error) {
	s := &successor{
		ctx: ctx, t: t, base: base, states: t.RowStates(), e: newEntries(t, opts),
		drop: make([]bool, len(base.segs)), heirs: map[uint32]uint32{},
	}
	s.b = newRowBuilder(s.e, base)
	root, err := s.b.addRoot()
	if err != nil {
		return nil, err
	}
	err = s.collect()
	s.e.resolver.release()
	if err != nil {
		return nil, err
	}
	if s.p, err = newPackingOf(s.b, log, root, opts); err != nil {
		return nil, err
	}
	s.relate()
	return s, nil
}

// collect adds the entries that differ from the base.
func (s *successor) collect() error {
	renamed := map[uint32]bool{} // files of the base that have new names
	err := s.t.WalkNew(func(_ string, n *fs.Inode, a fs.Attr) error {
		if row, ok := s.t.Row(n); ok && a.Mode&syscall.S_IFMT == syscall.S_IFREG {
			renamed[row] = true
		}
		return s.ctx.Err()
	})
	if err != nil {
		return err
	}
	s.markLinks(renamed)
	s.countKept()
	for row := uint32(1); row < uint32(s.base.rows()); row++ {
		switch {
		case s.states[row]&fs.RowMoved != 0:
			s.b.stale[row] = true
		case !s.stays(row):
			if err := s.changed(row); err != nil {
				return err
			}
		}
	}
	return s.t.WalkNew(func(path string, n *fs.Inode, a fs.Attr) error { return s.entry(path, n, a, 0) })
}

// markLinks marks all names of files whose names have changed, since a different name may now
// carry the content. renamed are rows of files of the base that have new names.
func (s *successor) markLinks(renamed map[uint32]bool) {
	x := s.base
	s.relink = make([]bool, x.rows())
	for row := range uint32(x.rows()) {
		if to := x.inode(row); to != row && s.states[row]|s.states[to] != 0 {
			renamed[to] = true
		}
	}
	for row := range uint32(x.rows()) {
		s.relink[row] = renamed[x.inode(row)]
	}
}

// stays reports whether a row of the base is unchanged.
func (s *successor) stays(row uint32) bool { return s.states[row] == 0 && !s.relink[row] }

// countKept counts the unchanged entries against the limits, which apply to all.
func (s *successor) countKept() {
	x, m := s.base, &s.e.meter
	for row := uint32(1); row < uint32(x.rows()); row++ {
		if s.stays(row) {
			m.entries++
			m.meta += int64(len(x.name(row)))
			m.total += x.size(row)
			if x.kind(row) == kindSymlink {
				m.meta += int64(len(x.target(row)))
			}
		}
	}
	for i, row := range x.xattrRow {
		for _, attr := range x.xattrs[i] {
			if s.stays(row) && row > 0 {
				m.meta += int64(len(attr.name) + len(attr.value))
			}
		}
	}
}

// changed adds a row of the base whose path still names the same inode, which has changed.
func (s *successor) changed(row uint32) error {
	s.b.stale[row] = true
	n, errno := s.t.Find(uint64(s.base.inode(row)) + 1)
	if errno != 0 {
		return packErr(s.base.path(row), errno)
	}
	defer s.t.Unref(n, 1)
	return s.entry(s.base.path(row), n, s.t.Attr(n), row)
}

// entry adds an entry. row is the base's row at the same path, or 0.
func (s *successor) entry(path string, n *fs.Inode, a fs.Attr, row uint32) error {
	return s.e.entry(s.ctx, path, n, a, func(h *header, _ []byte, n *fs.Inode) error {
		no := s.b.add(h, n)
		switch from, ok := s.t.Row(n); {
		case h.kind == kindDir:
			s.b.entry(no).from = row
		case ok && (h.kind == kindFile || h.kind == kindLink):
			s.b.entry(no).from = from
		}
		if row != 0 {
			s.b.anew[row] = no
			if s.states[row]|s.states[s.base.inode(row)] == 0 {
				s.b.entry(no).commit = s.base.commit[row] + 1
			}
		}
		return nil
	})
}

// relate maps the base's rows to the new ones, and finds the files that started from the
// content of one.
func (s *successor) relate() {
	s.rowOf = make([]uint32, s.base.rows())
	for row, no := range s.b.order {
		switch x := s.p.x; {
		case row == 0:
		case no < s.b.known():
			s.rowOf[no] = uint32(row)
		case x.kind(uint32(row)) == kindFile && isBig(x.size(uint32(row))):
			if from := s.b.entry(no).from; from != 0 {
				s.heirs[from] = uint32(row)
			}
		}
	}
}

// dead finds the groups that are not copied: those with a changed or removed entry, those
// placed after all content, small ones if new entries are written with which they can share a
// group, and hard links to files that move behind them.
func (s *successor) dead() {
	x := s.base
	for row := uint32(1); row < uint32(x.rows()); row++ {
		if x.segs[x.seg[row]].kind == segGroup && (s.rowOf[row] == 0 || x.late(row)) {
			s.drop[x.seg[row]] = true
		}
	}
	if s.news() {
		for i := range x.segs {
			if seg := &x.segs[i]; seg.kind == segGroup && seg.raw < groupSize/2 {
				s.drop[i] = true
			}
		}
	}
	for _, row := range x.furtherNames() {
		if s.drop[x.seg[x.inode(row)]] {
			s.drop[x.seg[row]] = true
		}
	}
}

// furtherNames returns the rows of hard links, in the order of their segments, in which a file
// comes before its links.
func (x *index) furtherNames() (rows []uint32) {
	for row := range uint32(x.rows()) {
		if x.inode(row) != row {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b uint32) int { return cmp.Compare(x.seg[a], x.seg[b]) })
	return rows
}

// news reports whether entries have to be written other than those that always are.
func (s *successor) news() bool {
	for row, no := range s.b.order {
		if !s.p.x.late(uint32(row)) && (no >= s.b.known() || s.drop[s.base.seg[no]]) {
			return true
		}
	}
	return false
}

// scattered reports whether the groups to be copied are so many, for their content, that
// packing afresh is better.
func (s *successor) scattered() bool {
	groups, raw := int64(0), int64(0)
	for i := range s.base.segs {
		if seg := &s.base.segs[i]; seg.kind == segGroup && !s.drop[i] {
			groups, raw = groups+1, raw+int64(seg.raw)
		}
	}
	return groups > 16+2*raw/groupSize
}

// leave records which rows stay in copied segments.
func (s *successor) leave() {
	p, x := s.p, s.base
	for row, no := range s.b.order {
		switch {
		case no >= s.b.known():
			p.moves[row] = row > 0
		case s.drop[x.seg[no]]:
			p.moves[row] = true
			if x.kind(no) == kindFile {
				p.ino[row] = uint64(no) + 1
			}
		}
	}
}

// lay assembles the runs of segments.
func (s *successor) lay() {
	s.leave()
	x := s.base
	owners := map[uint32]uint32{} // rows by the segments of their headers
	for row := uint32(1); row < uint32(x.rows()); row++ {
		if x.segs[x.seg[row]].kind == segHeader {
			owners[x.seg[row]] = row
		}
	}
	for _, part := range s.p.headParts() {
		s.write(part)
	}
	placed := map[uint32]bool{}
	for i := uint32(0); i < uint32(len(x.segs)); i++ {
		switch x.segs[i].kind {
		case segGroup:
			if !s.drop[i] {
				s.keep(kept{i, 0, 1})
			}
		case segHeader:
			row := owners[i]
			if s.rowOf[row] != 0 && !s.drop[i] {
				s.keepFile(i, chunks(x.size(row)))
			} else if heir := s.heirs[row]; heir != 0 && !s.drop[i] && s.inherit(row, heir) {
				placed[heir] = true
			}
		}
	}
	for _, part := range s.p.newParts() {
		if !placed[part.file] || part.rows != nil {
			s.write(part)
		}
	}
}

// keepFile copies a big file, whose header is segment i.
func (s *successor) keepFile(i uint32, left int64) {
	s.keep(kept{i, 0, 1})
	for i++; left > 0; i++ {
		n := s.base.segs[i].repeat
		s.keep(kept{i, 0, n})
		left -= int64(n)
	}
}

// inherit writes the header of a big file that started from the content of row, and copies the
// unchanged chunks. If there are none it does nothing and returns false.
func (s *successor) inherit(row, heir uint32) bool {
	same := s.sameChunks(row, heir)
	if !slices.Contains(same, true) {
		return false
	}
	s.write(part{file: heir, header: true})
	i, within := s.base.seg[row]+1, uint32(0)
	total := chunks(s.p.x.size(heir))
	for chunk := range total {
		if chunk < int64(len(same)) && same[chunk] {
			s.keep(kept{i, within, within + 1})
		} else {
			s.write(part{file: heir, from: chunk, to: chunk + 1})
		}
		if chunk < int64(len(same)) {
			if within++; within == s.base.segs[i].repeat {
				i, within = i+1, 0
			}
		}
	}
	return true
}

// sameChunks returns for each chunk of row, up to the size of its heir, whether the heir has
// the same.
func (s *successor) sameChunks(row, heir uint32) []bool {
	was, is := s.base.size(row), s.p.x.size(heir)
	same := make([]bool, min(chunks(was), chunks(is)))
	n, errno := s.t.Find(uint64(row) + 1)
	if errno != 0 {
		return nil
	}
	defer s.t.Unref(n, 1)
	s.t.BaseRanges(n, func(off, length int64) bool {
		for chunk := off / chunkSize; chunk < int64(len(same)); chunk++ {
			end := min(is, (chunk+1)*chunkSize)
			if end != min(was, (chunk+1)*chunkSize) || end > off+length {
				break
			}
			same[chunk] = true
		}
		return true
	})
	return same
}

// keep appends copies of a segment of the base.
func (s *successor) keep(k kept) {
	p := s.p
	if n := len(p.runs); n == 0 || p.runs[n-1].parts != nil {
		p.runs = append(p.runs, run{})
	}
	of := &p.runs[len(p.runs)-1]
	if n := len(of.keep); n > 0 && of.keep[n-1].seg == k.seg && of.keep[n-1].to == k.from {
		of.keep[n-1].to = k.to
		return
	}
	of.keep = append(of.keep, k)
}

// write appends something new.
func (s *successor) write(of part) {
	p := s.p
	if n := len(p.runs); n == 0 || p.runs[n-1].keep != nil {
		p.runs = append(p.runs, run{})
	}
	r := &p.runs[len(p.runs)-1]
	if n := len(r.parts); n > 0 && of.rows == nil && !of.header && r.parts[n-1].rows == nil && r.parts[n-1].file == of.file && r.parts[n-1].to == of.from {
		r.parts[n-1].to = of.to
		return
	}
	r.parts = append(r.parts, of)
}
