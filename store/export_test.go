package store

// NewFileStore gives a store of the file driver beneath a directory.
func NewFileStore(root string) Store { return &fileStore{root: root, sys: durable} }
