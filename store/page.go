package store

import (
	"context"
	"slices"
	"strings"
)

// Pager is an optional interface of a Store that can list from a given key, so that every page
// costs the same.
type Pager interface {
	// ListPage returns the first n archives of those that List returns whose names sort after
	// that of the key after, which need not exist; "" sorts before all. They are sorted by
	// name, which is the key with ".tar.gz": "a-b" comes before "a". more reports that others
	// may follow. n is at least 1.
	ListPage(ctx context.Context, prefix, after string, n int) (infos []Info, more bool, err error)
}

// ListPage returns at most n of the workspaces directly beneath a prefix, sorted by the
// names of their archives (NAME.tar.gz): the first ones after the workspace named after, which
// need not exist; "" sorts before all. more reports that others may follow; pass the last
// one's Name as after to get them. n is at least 1. Otherwise it is as List.
func ListPage(ctx context.Context, prefixURL, after string, n int) (found []Workspace, more bool, err error) {
	u, err := ParsePrefix(prefixURL)
	if err != nil {
		return nil, false, err
	}
	return u.ListPage(ctx, after, n)
}

// ListPage is the function ListPage for a parsed prefix.
func (u URL) ListPage(ctx context.Context, after string, n int) (found []Workspace, more bool, err error) {
	s, err := OpenBucket(ctx, u)
	if err != nil {
		return nil, false, err
	}
	defer s.Close()
	start := ""
	if after != "" {
		start = u.prefix() + after
	}
	for more = true; more && len(found) < n; { // names that no URL can have are skipped
		var infos []Info
		if infos, more, err = listPage(ctx, s, u.prefix(), start, n-len(found)); err != nil {
			return nil, false, err
		}
		for _, info := range infos {
			start = info.Key
			if w, ok := workspaceOf(u, info); ok {
				found = append(found, w)
			}
		}
	}
	return found, more, nil
}

func listPage(ctx context.Context, s Store, prefix, after string, n int) ([]Info, bool, error) {
	if p, ok := s.(Pager); ok {
		return p.ListPage(ctx, prefix, after, n)
	}
	infos, err := s.List(ctx, prefix)
	if err != nil {
		return nil, false, err
	}
	slices.SortFunc(infos, func(a, b Info) int { return compareNames(a.Key, b.Key) })
	infos = infos[firstAfter(infos, after, func(i Info) string { return i.Key }):]
	return infos[:min(n, len(infos))], len(infos) > n, nil
}

// compareNames compares keys by the names of their archives.
func compareNames(a, b string) int { return strings.Compare(a+suffix, b+suffix) }

// firstAfter returns the index of the first element after the key after, in a slice sorted by
// names.
func firstAfter[E any](sorted []E, after string, key func(E) string) int {
	if after == "" {
		return 0
	}
	i, found := slices.BinarySearchFunc(sorted, after, func(e E, after string) int { return compareNames(key(e), after) })
	if found {
		i++
	}
	return i
}
