package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Piece is one run of bytes of a composed archive.
type Piece struct {
	// Off and Len are a range of the base, if Write is nil.
	Off, Len int64
	// Write writes new bytes. As in Store.Put, it may be called several times and must write
	// the same bytes each time.
	Write func(io.Writer) error
}

// Written returns the plan of a wholly new archive, which consists of what write writes.
func Written(write func(io.Writer) error) []Piece { return []Piece{{Write: write}} }

// Composer is an optional interface of a Store that can build an archive from ranges of
// another one without their bytes passing through this process.
type Composer interface {
	// Compose is as the function Compose, which has checked the plan against base.
	// errors.ErrUnsupported means that the store cannot do it with this base or plan, and has
	// done nothing.
	Compose(ctx context.Context, key string, base Object, plan []Piece, opts *PutOptions) (Info, error)
}

// Compose stores the concatenated pieces of a plan as the successor of the archive base of
// key. opts.Replace is the revision of base, which may be nil if the plan has no ranges.
// Otherwise it is as Store.Put. If the store cannot compose, the ranges are read and sent.
//
// If base is replaced meanwhile the error is ErrConflict; a successor never has bytes of two
// revisions.
func Compose(ctx context.Context, s Store, key string, base Object, plan []Piece, opts *PutOptions) (Info, error) {
	if opts == nil {
		opts = &PutOptions{}
	}
	plan, err := checkPlan(key, base, plan, opts.Replace)
	if err != nil {
		return Info{}, err
	}
	if c, ok := s.(Composer); ok && hasRange(plan) {
		info, err := c.Compose(ctx, key, base, plan, opts)
		if !errors.Is(err, errors.ErrUnsupported) {
			return info, err
		}
	}
	return s.Put(ctx, key, func(w io.Writer) error { return WritePlan(ctx, w, base, plan) }, opts)
}

// checkPlan checks a plan against its base. In the plan that it returns empty ranges are
// dropped and adjacent ones joined.
func checkPlan(key string, base Object, plan []Piece, replace Revision) ([]Piece, error) {
	var size int64
	if base != nil {
		info := base.Info()
		if info.Revision != replace {
			return nil, &Error{Op: "compose", Object: key, Cause: &ConflictError{Key: key, Want: replace, Have: info.Revision}}
		}
		size = info.Size
	}
	var checked []Piece
	for _, p := range plan {
		if p.Write != nil {
			checked = append(checked, Piece{Write: p.Write})
			continue
		}
		if p.Off < 0 || p.Len < 0 || p.Off > size || p.Len > size-p.Off {
			return nil, fmt.Errorf("compose %s: the range of %d bytes at %d is not within the base of %d bytes", key, p.Len, p.Off, size)
		}
		if p.Len == 0 {
			continue
		}
		if n := len(checked) - 1; n >= 0 && checked[n].Write == nil && checked[n].Off+checked[n].Len == p.Off {
			checked[n].Len += p.Len
			continue
		}
		checked = append(checked, p)
	}
	return checked, nil
}

func hasRange(plan []Piece) bool {
	return slices.ContainsFunc(plan, func(p Piece) bool { return p.Write == nil })
}

// WritePlan writes the bytes of a plan, for stores that cannot compose them. It reads the
// ranges of base ahead of w.
func WritePlan(ctx context.Context, w io.Writer, base io.ReaderAt, plan []Piece) error {
	kept := ReadAhead(ctx, base, plan)
	defer kept.Close()
	for _, p := range plan {
		var err error
		if p.Write != nil {
			err = p.Write(w)
		} else if _, err = io.CopyN(w, kept, p.Len); err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}
