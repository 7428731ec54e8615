package store

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"
)

// ScratchPrefix begins the name of the directory for the archives that package doctor stores.
// Lists do not show them as workspaces.
const ScratchPrefix = ".workdir-doctor-"

// isScratch reports whether the key is that of a scratch archive.
func isScratch(key string) bool { return strings.Contains("/"+key, "/"+ScratchPrefix) }

// Dir returns the directory of the archive of key, for package doctor. It need not exist.
func (s *fileStore) Dir(key string) (string, error) {
	p, err := s.place(key)
	if err != nil {
		return "", s.fail("put", key, err)
	}
	return p.dir, nil
}

// Local reports, for package doctor, whether the file system of a directory belongs to this
// host alone.
func (s *fileStore) Local(dir string) bool {
	d, err := openDir(dir, unix.O_RDONLY, &s.sys)
	if err != nil {
		return false
	}
	defer d.close()
	return d.local()
}

// Lock acquires the lock for a commit of key, for package doctor. ctx ends the wait for it.
func (s *fileStore) Lock(ctx context.Context, key string) (unlock func(), err error) {
	p, err := s.place(key)
	if err != nil {
		return nil, err
	}
	d, err := openDir(p.dir, unix.O_RDONLY, &s.sys)
	if err != nil {
		return nil, err
	}
	defer d.close()
	return d.lock(ctx)
}
