package workspace

import (
	"context"
	"errors"

	"github.com/workdir/workdir/archive"
)

// ErrNoIndex means that the archive does not record which commit changed which path, because
// another program or an earlier release wrote it.
var ErrNoIndex = errors.New("the archive has no index")

// Blamed is an entry with the commit that last changed it: its attributes, its content, or its
// name.
type Blamed struct {
	Entry
	Commit archive.CommitID
	Record *archive.Record // of Commit; nil if the log no longer has it
}

// Blame returns the entries of a workspace at and beneath path, as Tree does, with the
// commits that changed them. It reads the index and the log, and no content.
//
// Errors: ErrNoIndex; those of Tree.
func Blame(ctx context.Context, url, path string, opts *Options) ([]Blamed, error) {
	l, err := load(ctx, url, loadOptions{Options: opts.orDefault(), devices: true, needLog: true})
	if err != nil {
		return nil, err
	}
	defer l.close()
	if l.image == nil {
		return nil, l.pathError("blame", ErrNoIndex)
	}
	all, err := l.listAt(path)
	if err != nil {
		return nil, l.pathError("blame", err)
	}
	records := map[archive.CommitID]*archive.Record{}
	for r := range l.log.All() {
		records[r.ID] = r
	}
	blamed := make([]Blamed, 0, len(all))
	for _, e := range all {
		id := l.image.Commit(uint32(e.ino - 1)) // inode numbers are derived from rows
		blamed = append(blamed, Blamed{e.Entry, id, records[id]})
	}
	return blamed, nil
}

// listAt lists the entries at and beneath a path.
func (l *loaded) listAt(path string) ([]listed, error) {
	n, at, err := find(l.tree, path)
	if err != nil {
		return nil, err
	}
	l.tree.Unref(n, 1)
	return list(l.tree, at)
}
