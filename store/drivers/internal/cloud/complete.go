package cloud

import (
	"context"
	"errors"
	"strings"
)

// Namer is a Backend that can tell how a name goes on.
type Namer interface {
	// Names gives, by one request, the names of objects that begin with prefix and
	// have no further slash, and those beginnings of others that end with the next
	// slash; at most limit, in any order.
	Names(ctx context.Context, prefix string, limit int) ([]string, error)
}

// ownNames begins the names of what this program stores beside archives for a
// moment.
const ownNames = ".workdir-"

// Complete implements store.Completer.
func (s *cloudStore) Complete(ctx context.Context, start string, limit int) ([]string, error) {
	n, ok := s.backend.(Namer)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	names, err := n.Names(Operation(ctx, "list"), s.prefix+start, limit)
	if err != nil {
		return nil, s.fail(ctx, "list", start, err)
	}
	var keys []string
	for _, name := range names {
		if key, ok := completion(strings.TrimPrefix(name, s.prefix)); ok {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// completion is the key that the name of an object, or the beginning of names, stands
// for.
func completion(name string) (key string, ok bool) {
	key, isArchive := strings.CutSuffix(name, suffix)
	dir, isDir := strings.CutSuffix(name, "/")
	last := key[strings.LastIndexByte(key, '/')+1:]
	if isDir {
		last = dir[strings.LastIndexByte(dir, '/')+1:]
	}
	return key, (isArchive || isDir) && last != "" && !strings.HasPrefix(last, ownNames)
}
