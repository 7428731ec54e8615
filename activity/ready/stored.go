package ready

import (
	"context"
	"errors"
	"time"

	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/activity/internal/failure"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// maxListed is the maximum number of workspaces returned by List: with long names still below
// Temporal's limit of 2 MiB.
const maxListed = 1000

// ListInput is the input of List.
type ListInput struct {
	// Prefix is the URL above the workspaces, a template.
	Prefix string `json:"prefix"`
	// Limit is the maximum number of results; 0 and more than 1,000 mean 1,000.
	Limit int `json:"limit,omitempty"`
	// After selects only workspaces whose archives' names (NAME.tar.gz) sort after that of
	// this one, to continue a list.
	After string `json:"after,omitempty"`
}

// ListResult is the result of List.
type ListResult struct {
	Workspaces []Listed `json:"workspaces"` // sorted by the names of their archives
	// More: there are more, which a call with After returns.
	More bool `json:"more,omitempty"`
}

// Listed is one workspace.
type Listed struct {
	Name     string    `json:"name"`
	URL      string    `json:"url"`  // without options
	Size     int64     `json:"size"` // of the archive, bytes
	ModTime  time.Time `json:"modTime"`
	Revision string    `json:"revision"`
}

// list is List: the workspaces directly beneath a prefix.
func (r *ready) list(ctx context.Context, in ListInput) (ListResult, error) {
	u, err := r.prefix(ctx, in.Prefix)
	if err != nil {
		return ListResult{}, err
	}
	limit := in.Limit
	if limit <= 0 || limit > maxListed {
		limit = maxListed
	}
	page, more, err := u.ListPage(ctx, in.After, limit)
	if err != nil {
		return ListResult{}, failure.ToTemporal(err)
	}
	out := ListResult{Workspaces: []Listed{}, More: more}
	for _, w := range page {
		out.Workspaces = append(out.Workspaces, Listed{
			Name: w.Name, URL: w.URL.Identity(), Size: w.Size, ModTime: w.ModTime.UTC(), Revision: string(w.Revision),
		})
	}
	return out, nil
}

// DeleteInput is the input of Delete.
type DeleteInput struct {
	// Workspace is the URL, a template.
	Workspace string `json:"workspace"`
	// Revision is the expected revision. "": any, which for a retry may be an archive stored
	// since.
	Revision string `json:"revision,omitempty"`
}

// DeleteResult is the result of Delete.
type DeleteResult struct {
	// Deleted is false if there was nothing to delete.
	Deleted bool `json:"deleted"`
}

// delete is Delete. A revision other than the expected one is a conflict, which is not
// retried.
func (r *ready) delete(ctx context.Context, in DeleteInput) (DeleteResult, error) {
	u, err := r.workspace(ctx, "workspace", in.Workspace)
	if err != nil {
		return DeleteResult{}, err
	}
	if in.Revision == "" {
		deleted, err := store.Delete(ctx, u.String())
		return DeleteResult{Deleted: deleted}, failure.ToTemporal(err)
	}
	deleted, err := u.DeleteRevision(ctx, store.Revision(in.Revision))
	return DeleteResult{Deleted: deleted}, forGood(err)
}

// CopyInput is the input of Copy.
type CopyInput struct {
	// From and To are URLs, templates.
	From string `json:"from"`
	To   string `json:"to"`
	// Replace is the revision of To that the copy replaces. "": To must not exist.
	Replace string `json:"replace,omitempty"`
	// ReplaceAny lets the copy replace any existing archive.
	ReplaceAny bool `json:"replaceAny,omitempty"`
}

// CopyResult is the result of Copy.
type CopyResult struct {
	// From is the copied revision, Revision that of To now.
	From     string `json:"from"`
	Revision string `json:"revision"`
	Size     int64  `json:"size"` // of the archive, bytes
	// Present: To already had the commit of From, from an earlier attempt or another copy, and
	// nothing was done.
	Present bool `json:"present,omitempty"`
}

// copy is Copy. A destination with an unexpected archive is a conflict, which is not retried,
// unless it has the commit to be copied.
func (r *ready) copy(ctx context.Context, in CopyInput) (CopyResult, error) {
	from, err := r.workspace(ctx, "from", in.From)
	if err != nil {
		return CopyResult{}, err
	}
	to, err := r.workspace(ctx, "to", in.To)
	if err != nil {
		return CopyResult{}, err
	}
	done, err := from.CopyTo(ctx, to, &store.CopyOptions{Replace: store.Revision(in.Replace), ReplaceAny: in.ReplaceAny})
	if err == nil {
		return CopyResult{From: string(done.From.Revision), Revision: string(done.To.Revision), Size: done.To.Size}, nil
	}
	if errors.Is(err, store.ErrConflict) {
		if there, ok := present(ctx, from, to); ok {
			return there, nil
		}
		return CopyResult{}, forGood(err)
	}
	return CopyResult{}, failure.ToTemporal(err)
}

// present reports whether the archive of to is at the same commit as from. An archive without
// a log, or that cannot be read, is not.
func present(ctx context.Context, from, to store.URL) (CopyResult, bool) {
	source, sourceID, err := head(ctx, from)
	if err != nil || sourceID == "" {
		return CopyResult{}, false
	}
	target, targetID, err := head(ctx, to)
	if err != nil || targetID != sourceID {
		return CopyResult{}, false
	}
	return CopyResult{From: string(source.Revision), Revision: string(target.Revision), Size: target.Size, Present: true}, true
}

// head returns the archive of a workspace, made durable, and the commit that made it, or ""
// without a log.
func head(ctx context.Context, u store.URL) (store.Info, archive.CommitID, error) {
	s, err := store.OpenBucket(ctx, u)
	if err != nil {
		return store.Info{}, "", err
	}
	defer s.Close()
	info, log, err := store.ReadLog(ctx, s, u.Key)
	if err != nil || log == nil {
		return info, "", err
	}
	return info, log.Record.ID, store.Sync(ctx, s, u.Key)
}

// forGood is failure.ToTemporal for a condition that no further attempt can meet.
func forGood(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return failure.Application(err, errtype.Conflict, false, store.ErrConflict.Error())
	}
	return failure.ToTemporal(err)
}
