package fs

// Image is a tree as it is kept elsewhere, frozen, on which a Tree can stand. It has a
// row for each name, breadth first: row 0 is the root, and the names of a directory are
// contiguous and sorted by their bytes.
//
// The methods may be called from several goroutines and return at once: names and
// attributes are in memory. Only ReadAt of a Base reads.
type Image interface {
	Len() int                              // rows
	Inode(row uint32) uint32               // the row of its inode: row itself, or an earlier one where row is a further name of a file
	Attr(row uint32) Attr                  // of an inode's row; Ino is row + 1; all four times are that of the last change
	Children(row uint32) (first, n uint32) // the names of a directory; none of anything else
	Name(row uint32) string                // "" for the root
	Target(row uint32) string              // of a symbolic link
	Xattrs(row uint32) []Xattr             // sorted by name; not to be changed
	Content(row uint32) Base               // of a regular file with a size above 0
}

// Xattr is one extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}
