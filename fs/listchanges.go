package fs

import (
	"iter"
	"maps"
	"sync"
	"syscall"
)

// ListChanges returns the paths that differ from the image or, without an image, from the
// state at Seal, in the order of Walk. It shows one moment: a change of the tree waits for
// it. Inodes that were changed back are listed as Changes counts them. Its cost depends on
// what has changed, on the names of the directories that contain it, and on the number of
// directories of the image. Error: EIO.
func (t *Tree) ListChanges() ([]PathChange, syscall.Errno) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if errno := t.refuse(); errno != 0 {
		return nil, errno
	}
	w := &changeWalk{tree: t, before: t.sealedNames(), visit: map[uint64]bool{}, marked: map[uint64]uint8{}, renamed: map[uint64]bool{}}
	w.mark()
	w.gone()
	w.walk("", t.root)
	for _, n := range w.touched {
		if !w.renamed[n.ino] {
			w.list.Changed(n.path, n.mode, n.size)
		}
	}
	return w.list.Sum(), 0
}

// changeWalk is one ListChanges.
// Preconditions of its methods: Tree.mu is held.
type changeWalk struct {
	tree    *Tree
	before  sealedNames
	list    ChangeList
	visit   map[uint64]bool  // directories in or below which something may differ
	marked  map[uint64]uint8 // inodes of Seal that differ: their flags
	renamed map[uint64]bool  // inodes that gained or lost a name
	touched []namedInode     // inodes of which only names were changed, perhaps back again
}

// mark finds what differs, and the directories above it.
func (w *changeWalk) mark() {
	several := map[uint64]bool{}
	for n := range w.tree.inodes.marked() {
		n.mu.Lock()
		flags, links := n.flags, n.nlink
		n.mu.Unlock()
		if links == 0 {
			continue
		}
		if _, row := w.tree.Row(n); !row && w.tree.image != nil {
			flags |= flagNew
		}
		if n.isDir() && (n.dir().image == nil || flags&flagsChanged != 0) {
			w.lead(n.ino)
		}
		if flags&flagsChanged == 0 || flags&flagNew != 0 {
			continue
		}
		w.marked[n.ino] = flags
		if !n.isDir() {
			several[n.ino] = true
		}
	}
	for dir := range w.before.dirsOf(several) {
		if w.tree.livesOrNew(dir) {
			w.lead(dir)
		}
	}
}

// lead adds a directory and those above it to the directories to visit.
func (w *changeWalk) lead(ino uint64) {
	for !w.visit[ino] {
		w.visit[ino] = true
		ino = w.tree.parentOf(ino)
	}
}

// gone lists the names of Seal that no longer lead to their inodes.
func (w *changeWalk) gone() {
	for dir := range w.before.touched() {
		n := w.tree.inodes.get(dir)
		lives := w.tree.livesOrNew(dir)
		if lives && (n == nil || n.dir().image != nil) {
			continue
		}
		for name, was := range w.before.names(dir) {
			if lives && n.dir().lookup(name) == was.ino {
				continue
			}
			w.renamed[was.ino] = true
			w.list.Gone(Join(w.before.path(dir), name), was.ino, was.mode, was.size)
		}
	}
}

// walk lists what was added and what differs in a directory and below.
func (w *changeWalk) walk(path string, dir *Inode) {
	w.modified(path, dir)
	was := w.before.lookup(dir.ino)
	for name, ino := range dir.dir().sorted() {
		n := w.tree.hold(ino)
		at := Join(path, name)
		if was(name) != ino && !n.is(syscall.S_IFSOCK) {
			a := w.tree.Attr(n)
			w.renamed[ino] = true
			w.list.Came(at, ino, a.Mode, a.Size)
		}
		if !n.isDir() {
			w.modified(at, n)
		} else if w.visit[ino] {
			w.walk(at, n)
		}
		w.tree.Unref(n, 1)
	}
}

// modified lists an inode that differs, by the first of its names.
func (w *changeWalk) modified(path string, n *Inode) {
	flags, ok := w.marked[n.ino]
	if !ok {
		return
	}
	delete(w.marked, n.ino)
	a := w.tree.Attr(n)
	if flags&(flagData|flagMeta) == 0 {
		w.touched = append(w.touched, namedInode{path, n.ino, a.Mode, a.Size})
		return
	}
	w.list.Changed(path, a.Mode, a.Size)
}

// livesOrNew reports whether a number belongs to an inode with a name.
// Preconditions: Tree.mu is held.
func (t *Tree) livesOrNew(ino uint64) bool {
	if ino <= t.rows {
		return t.lives(ino)
	}
	n := t.inodes.get(ino)
	return n != nil && n.nlink > 0
}

// sealedName is what a name led to at Seal.
type sealedName struct {
	ino  uint64
	mode uint32
	size int64
}

// sealedNames are the names at Seal. Those of an image are its rows.
type sealedNames interface {
	// touched returns the directories that may have lost names.
	touched() iter.Seq[uint64]
	// names returns the names of a directory.
	names(dir uint64) iter.Seq2[string, sealedName]
	// lookup returns a function that finds the inode to which a name of a directory led; 0:
	// none.
	lookup(dir uint64) func(name string) uint64
	// path returns the path of a directory.
	path(dir uint64) string
	// dirsOf returns the directories that have names of some inodes.
	dirsOf(inodes map[uint64]bool) iter.Seq[uint64]
}

func (t *Tree) sealedNames() sealedNames {
	if t.image != nil {
		return &imageNames{t, map[uint64]string{rootIno: ""}}
	}
	return &noted{tree: t}
}

// imageNames are the rows of the image.
type imageNames struct {
	tree  *Tree
	paths map[uint64]string // of the directories that were asked for
}

func (s *imageNames) touched() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, row := range s.tree.dirs {
			if !yield(uint64(row) + 1) {
				return
			}
		}
	}
}

func (s *imageNames) names(dir uint64) iter.Seq2[string, sealedName] {
	img := s.tree.image
	first, n := img.Children(uint32(dir - 1))
	return func(yield func(string, sealedName) bool) {
		for row := first; row < first+n; row++ {
			a := img.Attr(img.Inode(row))
			if !yield(img.Name(row), sealedName{inoOf(img, row), a.Mode, a.Size}) {
				return
			}
		}
	}
}

func (s *imageNames) lookup(dir uint64) func(string) uint64 {
	if dir > s.tree.rows {
		return func(string) uint64 { return 0 }
	}
	first, n := s.tree.image.Children(uint32(dir - 1))
	return func(name string) uint64 { return lookupRow(s.tree.image, first, n, name) }
}

func (s *imageNames) path(dir uint64) string {
	path, ok := s.paths[dir]
	if !ok {
		path = Join(s.path(s.tree.rowParent(dir)), s.tree.image.Name(uint32(dir-1)))
		s.paths[dir] = path
	}
	return path
}

// dirsOf reads the row of each inode, or all rows if one has several names.
func (s *imageNames) dirsOf(inodes map[uint64]bool) iter.Seq[uint64] {
	img, several := s.tree.image, false
	return func(yield func(uint64) bool) {
		for ino := range inodes {
			several = several || img.Attr(uint32(ino-1)).Nlink > 1
			if !yield(s.tree.rowParent(ino)) {
				return
			}
		}
		for row := uint32(1); several && uint64(row) < s.tree.rows; row++ {
			if img.Inode(row) != row && inodes[inoOf(img, row)] && !yield(s.tree.rowParent(uint64(row)+1)) {
				return
			}
		}
	}
}

// note keeps the names of a directory as they were at Seal, before the first of them is
// changed. An image has them anyway.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) note(dir *Inode) {
	if t.sealed == nil || t.sealed[dir.ino] != nil || dir.isNew() {
		return
	}
	names := make(map[string]sealedName, dir.dir().live)
	for name, ino := range dir.dir().sorted() {
		n := t.inodes.get(ino)
		a := t.Attr(n)
		names[name] = sealedName{ino, a.Mode, t.sizes.of(ino, a.Size)}
	}
	t.sealed[dir.ino] = names
}

// setSizeLocked sets the size of a regular file. In a tree without an image it keeps the
// size at Seal.
// Preconditions: n.mu is held.
func (t *Tree) setSizeLocked(n *Inode, size int64) {
	if t.image == nil && size != n.size && n.flags&flagNew == 0 {
		t.sizes.keep(n.ino, n.size)
	}
	n.size = size
}

// sealedSizes are the sizes at Seal of files that got another one since. An image has them
// anyway.
type sealedSizes struct {
	mu    sync.Mutex // a leaf
	sizes map[uint64]int64
}

func (s *sealedSizes) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.sizes)
}

// keep keeps the first size of a file.
func (s *sealedSizes) keep(ino uint64, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sizes[ino]; ok {
		return
	}
	if s.sizes == nil {
		s.sizes = map[uint64]int64{}
	}
	s.sizes[ino] = size
}

// of returns the size of a file at Seal, given its present one.
func (s *sealedSizes) of(ino uint64, size int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.sizes[ino]; ok {
		return was
	}
	return size
}

// isNew reports whether n was made since Seal.
func (n *Inode) isNew() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.flags&flagNew != 0
}

// noted are the names of a tree without an image: the noted ones and, for unchanged
// directories, the present ones.
type noted struct {
	tree  *Tree
	paths map[uint64]string // of all directories; nil until the first is asked for
}

func (s *noted) touched() iter.Seq[uint64] { return maps.Keys(s.tree.sealed) }

func (s *noted) names(dir uint64) iter.Seq2[string, sealedName] { return maps.All(s.tree.sealed[dir]) }

func (s *noted) lookup(dir uint64) func(string) uint64 {
	if names := s.tree.sealed[dir]; names != nil {
		return func(name string) uint64 { return names[name].ino }
	}
	n := s.tree.inodes.get(dir)
	if n.isNew() {
		return func(string) uint64 { return 0 }
	}
	return n.dir().lookup
}

func (s *noted) path(dir uint64) string {
	if s.paths == nil {
		s.paths = map[uint64]string{}
		s.name("", rootIno)
	}
	return s.paths[dir]
}

// name finds the paths of a directory and of those below it.
func (s *noted) name(path string, dir uint64) {
	s.paths[dir] = path
	for name, was := range s.tree.sealed[dir] {
		if was.mode&syscall.S_IFMT == syscall.S_IFDIR {
			s.name(Join(path, name), was.ino)
		}
	}
	if n := s.tree.inodes.get(dir); s.tree.sealed[dir] == nil && n != nil {
		for name, ino := range n.dir().sorted() {
			if s.tree.inodes.get(ino).isDir() {
				s.name(Join(path, name), ino)
			}
		}
	}
}

// dirsOf returns all directories, or none for no inodes: an inode does not know its names.
func (s *noted) dirsOf(inodes map[uint64]bool) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for n := range s.tree.inodes.all() {
			if len(inodes) == 0 || n.isDir() && !yield(n.ino) {
				return
			}
		}
	}
}
