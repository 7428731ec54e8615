package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsmerge"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/store"
)

// maxMerges is how often the work of one mount is merged with what others have stored
// meanwhile. After that the workspace is too busy, and the result is a conflict.
const maxMerges = 10

// commitMerging stores the tree. If another commit came in between and the mount merges,
// the changes are applied to that commit's archive, and the result is stored as its
// successor. The changes in a rewound workspace are not merged: the other archive has what
// a reset has undone.
func (h *hosted) commitMerging(ctx context.Context, w *work) error {
	err := h.commitOn(ctx, w, &h.loaded)
	for range maxMerges {
		if !h.req.Merge || h.rewound != "" || h.resumed != nil || !errors.Is(err, store.ErrConflict) { // nor are a checkpoint's changes known by path
			return err
		}
		if err = h.commitMerged(ctx, w, err); err == nil {
			w.res.Merged = true
		}
	}
	return err
}

// commitMerged merges the tree with the present archive and commits the result. conflict is
// the reason for the merge; it is returned, with the paths that both have changed, if the
// two cannot be merged.
func (h *hosted) commitMerged(ctx context.Context, w *work, conflict error) error {
	head, err := h.loadHead(ctx)
	defer head.free()
	if err != nil || head.base == nil {
		return conflict // the archive was removed, has no index, or cannot be read: as without merging
	}
	found, err := h.mergeInto(head.tree)
	if err != nil {
		return fmt.Errorf("%w (what both have changed could not be merged: %w)", conflict, err)
	}
	if len(found.Conflicts) > 0 {
		if e := (*store.ConflictError)(nil); errors.As(conflict, &e) {
			e.SetPaths(found.Conflicts)
		}
		return conflict
	}
	w.changes = head.tree.Changes()
	head.tree.Freeze()
	return h.commitOn(ctx, w, &head)
}

// loadHead opens the present archive. The caller frees the result, also beside an error.
func (h *hosted) loadHead(ctx context.Context) (head loaded, err error) {
	l := h.loader()
	obj, err := l.open(ctx)
	if err != nil || obj == nil {
		return head, err
	}
	return l.load(ctx, obj)
}

// mergeInto applies the changes of the mount to a tree.
func (h *hosted) mergeInto(tree *fs.Tree) (_ fsmerge.Result, err error) {
	defer panics.Catch("merge", &err)
	mine, _ := h.tree.Image().(*archive.Image)
	theirs, _ := tree.Image().(*archive.Image)
	return fsmerge.Merge(h.tree, tree, func(b, head uint32) bool {
		return mine != nil && theirs != nil && mine.Same(b, theirs, head)
	})
}

// noArchive is the image of a workspace without an archive: a root directory.
type noArchive struct{ owner fs.Owner }

// Len implements fs.Image, as do the methods that follow.
func (noArchive) Len() int                          { return 1 }
func (noArchive) Inode(row uint32) uint32           { return row }
func (noArchive) Children(uint32) (first, n uint32) { return 1, 0 }
func (noArchive) Name(uint32) string                { return "" }
func (noArchive) Target(uint32) string              { return "" }
func (noArchive) Xattrs(uint32) []fs.Xattr          { return nil }
func (noArchive) Content(uint32) fs.Base            { return nil }
func (a noArchive) Attr(uint32) fs.Attr {
	return fs.Attr{Ino: 1, Mode: dirMode, Nlink: 2, UID: a.owner.UID, GID: a.owner.GID}
}

// dirMode is the mode of a new workspace's root, as in fs.New.
const dirMode = 0o40755
