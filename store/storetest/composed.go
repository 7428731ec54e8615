package storetest

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/workdir/workdir/store"
)

// composed is a store whose every Put composes: it stores a head before the archive, which is
// new in a first archive and in a later one a range of the archive that it replaces. Readers
// see the archive without the head. So the tests of Put also test Compose.
type composed struct {
	store.Store
}

// head has a size that is inconvenient for every store.
var head = random(7, 3*4096+100)

func (c composed) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	if opts == nil {
		opts = &store.PutOptions{}
	}
	plan := []store.Piece{{Write: writes(head)}, {Write: write}}
	var base store.Object
	if opts.Replace != "" {
		o, err := store.OpenTail(ctx, c.Store, key, 0)
		switch {
		case errors.Is(err, store.ErrNotExist): // the Put will report it
		case err != nil:
			return store.Info{}, err
		default:
			defer o.Close()
			base, plan[0] = o, store.Piece{Len: int64(len(head))}
		}
	}
	info, err := store.Compose(ctx, c.Store, key, base, plan, opts)
	return behead(info), err
}

func (c composed) Stat(ctx context.Context, key string) (store.Info, error) {
	info, err := c.Store.Stat(ctx, key)
	return behead(info), err
}

func (c composed) Open(ctx context.Context, key string) (store.Object, error) {
	o, err := c.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	info := behead(o.Info())
	return &beheaded{io.NewSectionReader(o, int64(len(head)), info.Size), o, info}, nil
}

func behead(info store.Info) store.Info {
	if info.Revision != "" {
		info.Size -= int64(len(head))
	}
	return info
}

// beheaded is an object without its head.
type beheaded struct {
	*io.SectionReader
	object store.Object
	info   store.Info
}

func (b *beheaded) Info() store.Info { return b.info }
func (b *beheaded) Close() error     { return b.object.Close() }

// composedCases are the tests of Put that are also run on composing.
var composedCases = []string{
	"Missing", "Create", "Replace", "Delete", "Empty", "Sizes", "RaceToCreate", "RaceToReplace", "Increments", "History",
	"WriteFails", "WritePanics", "CancelledBefore", "CancelledDuringWrite", "CancelledEndless", "CancelledInBefore", "Before",
}

func isComposed(c testCase) bool { return slices.Contains(composedCases, c.name) }
