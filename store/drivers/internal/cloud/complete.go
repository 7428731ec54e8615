package cloud

import (
	"context"
	"strings"
)

// ownNames begins the names of this program's temporary objects beside archives.
const ownNames = ".workdir-"

// Complete implements store.Completer by one request.
func (s *cloudStore) Complete(ctx context.Context, start string, limit int) ([]string, error) {
	page, err := s.backend.Page(Operation(ctx, "list"), PageRequest{Prefix: s.prefix + start, Size: limit})
	if err != nil {
		return nil, s.fail(ctx, "list", start, err)
	}
	var keys []string
	for _, o := range page.Objects {
		if key, ok := completion(strings.TrimPrefix(o.Name, s.prefix)); ok {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// completion returns the key for the name of an object, or for a prefix of names.
func completion(name string) (key string, ok bool) {
	key, isArchive := strings.CutSuffix(name, suffix)
	dir, isDir := strings.CutSuffix(name, "/")
	last := key[strings.LastIndexByte(key, '/')+1:]
	if isDir {
		last = dir[strings.LastIndexByte(dir, '/')+1:]
	}
	return key, (isArchive || isDir) && last != "" && !strings.HasPrefix(last, ownNames)
}
