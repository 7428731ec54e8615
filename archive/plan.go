package archive

import (
	"context"
	"io"

	"github.com/workdir/workdir/fs"
)

// Plan says how a tree becomes an archive: ranges of the archive that it stands on, and
// new bytes, one after another.
type Plan struct {
	Pieces  []Piece
	Entries int64
	Bytes   int64 // content of the files, each once
	Kept    int64 // bytes of the ranges
}

// Piece is one run of the bytes of an archive.
type Piece struct {
	// Off and Len are a range of the base, where Write is nil.
	Off, Len int64
	// Write writes new bytes, the same whenever it is called. It is not to be called
	// from several goroutines at once, nor is that of another piece of the plan.
	Write func(io.Writer) error
}

// Plan returns how t becomes an archive, with log behind it, which must not be nil. t is
// frozen, or nobody changes it until the plan is carried out. Where it stands on an image
// of base, segments of base are kept; base may be nil, and then everything is new. All
// else is as of WriteTree; the writer given to NewWriter
// is not used.
//
// The plan reads t when its pieces are written, until ctx ends.
func (w *Writer) Plan(ctx context.Context, t *fs.Tree, base *Archive, log *Log) (*Plan, error) {
	var p *packing
	var err error
	if base == nil || !base.Indexed() || !standsOn(t, base) {
		p, err = newPacking(ctx, t, log, &w.opts)
	} else {
		p, err = newSuccessor(ctx, t, base.idx, log, &w.opts)
	}
	if err != nil {
		return nil, err
	}
	return p.plan(ctx), nil
}

// standsOn reports whether t stands on an image of base.
func standsOn(t *fs.Tree, base *Archive) bool {
	im, ok := t.Image().(*Image)
	return ok && im.x == base.idx
}

// plan returns the pieces of p, which ctx ends. Ranges that touch are one piece.
func (p *packing) plan(ctx context.Context) *Plan {
	plan := &Plan{Entries: int64(p.x.rows()) - 1, Bytes: p.content()}
	for i := range p.runs {
		if p.runs[i].keep == nil {
			plan.Pieces = append(plan.Pieces, Piece{Write: func(w io.Writer) error { return p.write(ctx, w, i) }})
			continue
		}
		if i == 0 { // with the header of the member, which is always the same
			plan.Pieces = append(plan.Pieces, Piece{Len: gzipHeader})
		}
		for _, k := range p.runs[i].keep {
			plan.keep(p.base.segs[k.seg].off+int64(k.from)*int64(p.base.segs[k.seg].packed), int64(k.to-k.from)*int64(p.base.segs[k.seg].packed))
		}
	}
	for _, piece := range plan.Pieces {
		plan.Kept += piece.Len
	}
	return plan
}

// keep adds a range.
func (p *Plan) keep(off, length int64) {
	if n := len(p.Pieces) - 1; n >= 0 && p.Pieces[n].Write == nil && p.Pieces[n].Off+p.Pieces[n].Len == off {
		p.Pieces[n].Len += length
		return
	}
	p.Pieces = append(p.Pieces, Piece{Off: off, Len: length})
}
