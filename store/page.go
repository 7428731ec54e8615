package store

import (
	"context"
	"slices"
	"strings"
)

// Pager is what a Store can be besides: one that lists from a key on, so that a page costs
// the same wherever it is.
type Pager interface {
	// ListPage returns the first n of the archives that List returns whose names come
	// after that of the key after, which need not exist; "" is before all. They are
	// sorted by name, which is the key with ".tar.gz": "a-b" comes before "a". more says
	// that there may be others behind them. n is at least 1.
	ListPage(ctx context.Context, prefix, after string, n int) (infos []Info, more bool, err error)
}

// ListPage returns at most n of the workspaces directly beneath a prefix, sorted by the
// names of their archives (NAME.tar.gz): the first ones behind the workspace named after,
// which need not exist; "" is before all. more says that there may be others behind them,
// which the Name of the last one leads to. n is at least 1. In all else it is as List.
func ListPage(ctx context.Context, prefixURL, after string, n int) (found []Workspace, more bool, err error) {
	u, err := ParsePrefix(prefixURL)
	if err != nil {
		return nil, false, err
	}
	return u.ListPage(ctx, after, n)
}

// ListPage is the function ListPage for a prefix that was parsed.
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
	for more = true; more && len(found) < n; { // names that no URL can have are left out
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

// firstAfter finds the first element behind the key after in what is sorted by names.
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
