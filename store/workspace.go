package store

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Workspace is one workspace as [List] finds it.
type Workspace struct {
	Name     string // its key without the prefix
	URL      URL    // opens it; has the options of the prefix, so print URL.Redacted
	Size     int64  // of the archive, bytes
	ModTime  time.Time
	Revision Revision // empty if the archive may be seen but not read
}

// List returns the workspaces directly beneath a prefix, sorted by name. A prefix that does
// not exist is an empty list. Archives whose names no URL can have are skipped.
func List(ctx context.Context, prefixURL string) ([]Workspace, error) {
	return list(ctx, prefixURL, Store.List)
}

// ListAll returns all workspaces beneath a prefix, at any depth, and otherwise is as List.
// errors.ErrUnsupported if the driver is not a [Lister].
func ListAll(ctx context.Context, prefixURL string) ([]Workspace, error) {
	return list(ctx, prefixURL, func(s Store, ctx context.Context, prefix string) ([]Info, error) {
		if all, ok := s.(Lister); ok {
			return all.ListAll(ctx, prefix)
		}
		return nil, noLister(prefix)
	})
}

func list(ctx context.Context, prefixURL string, ask func(Store, context.Context, string) ([]Info, error)) ([]Workspace, error) {
	u, err := ParsePrefix(prefixURL)
	if err != nil {
		return nil, err
	}
	s, err := OpenBucket(ctx, u)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	infos, err := ask(s, ctx, u.prefix())
	if err != nil {
		return nil, err
	}
	found := make([]Workspace, 0, len(infos))
	for _, info := range infos {
		if w, ok := workspaceOf(u, info); ok {
			found = append(found, w)
		}
	}
	return found, nil
}

// workspaceOf returns the workspace of an archive beneath u; false if no URL can name it, or
// it is hidden.
func workspaceOf(u URL, info Info) (Workspace, bool) {
	w := u
	w.Key = info.Key
	if again, err := ParseURL(w.String()); err != nil || again != w || isScratch(info.Key) || isVersion(info.Key) {
		return Workspace{}, false
	}
	return Workspace{
		Name:     strings.TrimPrefix(info.Key, u.prefix()),
		URL:      w,
		Size:     info.Size,
		ModTime:  info.ModTime,
		Revision: info.Revision,
	}, true
}

// Stat describes a workspace's current archive, or a version. ErrNotExist and
// ErrNoVersion if there is none.
func Stat(ctx context.Context, url string) (info Info, err error) {
	u, err := ParseURL(url)
	if err != nil {
		return Info{}, err
	}
	err = u.withStore(ctx, func(s Store) (err error) {
		info, err = u.StatArchive(ctx, s)
		return err
	})
	return info, err
}

// StatArchive returns the Info of the archive that OpenArchive opens.
func (u URL) StatArchive(ctx context.Context, s Store) (Info, error) {
	if u.Commit == "" {
		return s.Stat(ctx, u.Key)
	}
	o, err := u.OpenArchive(ctx, s, LogTail)
	if err != nil {
		return Info{}, err
	}
	return o.Info(), o.Close()
}

// deleteTries is how often Delete tries after conflicts.
const deleteTries = 5

// Delete removes the archive of a workspace and reports whether there was one. It removes only
// a revision that it has seen, and retries if the archive is replaced meanwhile; ErrConflict
// if that happens too often.
func Delete(ctx context.Context, url string) (bool, error) {
	u, err := ParseURL(url)
	if err != nil {
		return false, err
	}
	return u.Delete(ctx)
}

// Delete is the function Delete for a parsed URL.
func (u URL) Delete(ctx context.Context) (deleted bool, err error) {
	if err := u.IsVersion("delete"); err != nil {
		return false, err
	}
	err = u.withStore(ctx, func(s Store) (err error) {
		deleted, err = deleteCurrent(ctx, s, u.Key)
		return err
	})
	return deleted, err
}

// DeleteRevision removes the archive of a workspace if it has that revision, and reports
// whether there was one. ErrConflict if it has another.
func DeleteRevision(ctx context.Context, url string, rev Revision) (bool, error) {
	u, err := ParseURL(url)
	if err != nil {
		return false, err
	}
	return u.DeleteRevision(ctx, rev)
}

// DeleteRevision is the function DeleteRevision for a parsed URL.
func (u URL) DeleteRevision(ctx context.Context, rev Revision) (deleted bool, err error) {
	if err := u.IsVersion("delete"); err != nil {
		return false, err
	}
	err = u.withStore(ctx, func(s Store) error {
		_, err := Commit(ctx, s, u.Key, &CommitRequest{Replace: rev, Delete: true})
		deleted = err == nil
		if errors.Is(err, ErrNotExist) {
			return nil
		}
		return err
	})
	return deleted, err
}

func deleteCurrent(ctx context.Context, s Store, key string) (bool, error) {
	var err error
	for range deleteTries {
		info, serr := s.Stat(ctx, key)
		if errors.Is(serr, ErrNotExist) {
			return false, nil
		}
		if serr != nil {
			return false, serr
		}
		_, err = Commit(ctx, s, key, &CommitRequest{Replace: info.Revision, Delete: true})
		if !errors.Is(err, ErrConflict) {
			return err == nil, err
		}
	}
	return false, err
}

// withStore calls fn with the store of a URL while it is open.
func (u URL) withStore(ctx context.Context, fn func(Store) error) error {
	s, err := OpenBucket(ctx, u)
	if err != nil {
		return err
	}
	defer s.Close()
	return fn(s)
}
