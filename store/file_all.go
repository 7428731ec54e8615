package store

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ListAll implements Lister. It does not follow symbolic links to directories, which could
// form a cycle. If a directory beneath may not be read, it returns ErrNotAllowed rather than
// an incomplete list.
func (s *fileStore) ListAll(ctx context.Context, prefix string) ([]Info, error) {
	var all []Info
	for todo := []string{prefix}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		infos, beneath, err := s.level(ctx, at)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) && at != prefix {
			continue // it does not exist, or no longer
		}
		if err != nil {
			return nil, s.fail("list", at, err)
		}
		all = append(all, infos...)
		todo = append(todo, beneath...)
	}
	slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

// level returns the archives of one level, and the prefixes of the next level.
func (s *fileStore) level(ctx context.Context, prefix string) (infos []Info, beneath []string, err error) {
	if infos, _, err = s.listFrom(ctx, prefix, "", math.MaxInt); err != nil {
		return nil, nil, err
	}
	path, _, err := s.split(prefix)
	if err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, nil, errnoOf(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != homeName && e.Name() != versionsName {
			beneath = append(beneath, prefix+e.Name()+"/")
		}
	}
	return infos, beneath, nil
}

// errnoOf is the errno within an error of package os, as unix calls return it.
func errnoOf(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
