package archive

import (
	"context"
	"io"

	"github.com/workdir/workdir/fs"
)

// Plan says how a tree becomes an archive: a sequence of ranges of its base archive and of new
// bytes.
type Plan struct {
	Pieces  []Piece
	Entries int64
	Bytes   int64 // content of the files, each once
	Kept    int64 // bytes of the ranges
}

// Piece is one run of an archive's bytes.
type Piece struct {
	// Off and Len are a range of the base, if Write is nil.
	Off, Len int64
	// Write writes new bytes, the same on every call. It must not be called concurrently with
	// itself or with that of another piece of the plan.
	Write func(io.Writer) error
}

// Plan returns how t becomes an archive with log, which must not be nil. t must be frozen, or
// unchanged until the plan has been carried out. If t is based on an image of base, segments
// of base are kept; base may be nil, and then everything is new. Otherwise it is as WriteTree;
// the writer passed to NewWriter is not used.
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

// standsOn reports whether t is based on an image of base.
func standsOn(t *fs.Tree, base *Archive) bool {
	im, ok := t.Image().(*Image)
	return ok && im.x == base.idx
}

// plan returns the pieces of p, whose writing ctx ends. Adjacent ranges are one piece.
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
