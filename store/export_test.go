package store

import "golang.org/x/sys/unix"

// NewFileStore gives a store of the file driver beneath a directory.
func NewFileStore(root string) Store { return &fileStore{root: root, sys: durable} }

// NewFileStoreWith gives one whose file system has another flock or fsync; nil
// is the real one.
func NewFileStoreWith(root string, flock func(fd, how int) error, fsync func(fd int) error) Store {
	s := &fileStore{root: root, sys: durable}
	if flock != nil {
		s.sys.flock = flock
	}
	if fsync != nil {
		s.sys.fsync = fsync
	}
	return s
}

// IsDir says whether fd is a directory.
func IsDir(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// Unregister takes back a Register.
func Unregister(scheme string) {
	openers.Lock()
	defer openers.Unlock()
	delete(openers.byScheme, scheme)
}
