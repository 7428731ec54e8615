package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// maxCompletions is the maximum number of names that Complete returns: as many as clouds list
// by one request.
const maxCompletions = 1000

// Completer is a Store that can complete the beginning of a key.
type Completer interface {
	// Complete returns the keys that begin with start and have no further slash, and the
	// prefixes of longer keys up to and including the next slash; at most limit, in any order.
	// Errors as List.
	Complete(ctx context.Context, start string, limit int) ([]string, error)
}

// Complete returns the URLs that begin with url, sorted, for a shell: of workspaces, of
// prefixes, which end with a slash, and of schemes. Options are preserved. It returns at most
// some 1,000, and none if url names no bucket yet.
func Complete(ctx context.Context, url string) ([]string, error) {
	found := completeScheme(url)
	path, query, hasQuery := strings.Cut(url, "?")
	options := ""
	if hasQuery {
		options = "?" + query
	}
	head := path[:strings.LastIndexByte(path, '/')+1]
	u, err := ParsePrefix(orHere(head) + options)
	if err != nil || strings.HasSuffix(strings.TrimSuffix(head, "/"), "/") && u.Key != "" {
		return found, nil // no bucket yet, or a key with empty segments
	}
	keys, err := completeKeys(ctx, u, path[len(head):])
	for _, key := range keys {
		found = append(found, head+strings.TrimPrefix(key, u.prefix())+options)
	}
	slices.Sort(found)
	return found, err
}

// orHere returns the working directory for a head without a slash.
func orHere(head string) string {
	if head == "" {
		return "."
	}
	return head
}

func completeScheme(url string) []string {
	var found []string
	openers.RLock()
	defer openers.RUnlock()
	for name := range maps.Keys(openers.byScheme) {
		full := name + "://"
		if name == "file" {
			full = "file:///"
		}
		if url != full && strings.HasPrefix(full, url) {
			found = append(found, full)
		}
	}
	slices.Sort(found)
	return found
}

// completeKeys returns the keys beneath u that begin with start.
func completeKeys(ctx context.Context, u URL, start string) ([]string, error) {
	s, err := OpenBucket(ctx, u)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if c, ok := s.(Completer); ok {
		return c.Complete(ctx, u.prefix()+start, maxCompletions)
	}
	infos, err := s.List(ctx, u.prefix())
	var keys []string
	for _, info := range infos {
		if strings.HasPrefix(info.Key, u.prefix()+start) && len(keys) < maxCompletions {
			keys = append(keys, info.Key)
		}
	}
	return keys, err
}

// Complete implements Completer. It returns hidden names only if start begins one, and our own
// never.
func (s *fileStore) Complete(_ context.Context, start string, limit int) ([]string, error) {
	slash := strings.LastIndexByte(start, '/') + 1
	head, last := start[:slash], start[slash:]
	path, _, err := s.split(head)
	if err != nil {
		return nil, s.fail("list", start, err)
	}
	d, err := openDir(path, unix.O_RDONLY, &s.sys)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, s.fail("list", start, err)
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		return nil, s.fail("list", start, err)
	}
	var keys []string
	for _, name := range names {
		hidden := strings.HasPrefix(name, ".") && last == "" || strings.HasPrefix(name, homeName+"-") || name == homeName
		if hidden || !strings.HasPrefix(name, last) || len(keys) == limit {
			continue
		}
		if key, ok := d.completion(name); ok {
			keys = append(keys, head+key)
		}
	}
	return keys, nil
}

// completion returns what a name in d stands for: a workspace, or a directory.
func (d *dir) completion(name string) (string, bool) {
	var st unix.Stat_t
	if err := eintr.Retry(func() error { return unix.Fstatat(d.fd, name, &st, 0) }); err != nil {
		return "", false
	}
	switch key, isArchive := strings.CutSuffix(name, suffix); {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return name + "/", true
	case isArchive && key != "" && regular(&st) == nil:
		return key, true
	}
	return "", false
}
