package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/wire"
)

// changes sends the paths that differ in a mount to the client, one page after the other.
func (s *server) changes(ctx context.Context, body json.RawMessage) error {
	req, err := wire.Decode[wire.ChangesRequest](body)
	if err != nil {
		return err
	}
	h, err := s.find(body)
	if err != nil {
		return err
	}
	all, err := h.changes(ctx)
	if err != nil {
		return err
	}
	for some := range pagesOf(all) {
		if err := s.conn.Call(ctx, wire.CallChanged, wire.SomeChanges{List: req.List, Changes: some}, nil); err != nil {
			return err
		}
	}
	return nil
}

// changes returns the paths that differ. Error: ErrClosed if the mount is over.
func (h *hosted) changes(ctx context.Context) (all []fs.PathChange, err error) {
	err = wire.ErrClosed
	h.whileOpen(func(state string) {
		switch {
		case state != wire.StateMounted:
		case h.req.ReadOnly:
			err = nil
		default:
			all, err = h.view.list(ctx)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("list the changes in %s: %w", h.dir, err)
	}
	return all, nil
}

// Limits of a page.
const (
	pageChanges = 1000
	pageBytes   = 1 << 20 // of paths
)

// pagesOf cuts a list into pages.
func pagesOf(all []fs.PathChange) iter.Seq[[]wire.Change] {
	return func(yield func([]wire.Change) bool) {
		var page []wire.Change
		bytes := 0
		for i := range all {
			c := &all[i]
			page = append(page, wire.Change{Path: ipc.Path(c.Path), From: ipc.Path(c.From), Change: string(c.Kind), Kind: fs.KindName(c.Mode), Size: c.Size})
			bytes += len(c.Path) + len(c.From)
			if i < len(all)-1 && len(page) < pageChanges && bytes < pageBytes {
				continue
			}
			if !yield(page) {
				return
			}
			page, bytes = page[:0], 0
		}
	}
}
