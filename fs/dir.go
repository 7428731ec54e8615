package fs

import (
	"hash/maphash"
	"iter"
	"math"
	"slices"
	"sort"
	"strings"
	"syscall"
)

const (
	// direntSize is what a name adds to the size of its directory, in bytes, and
	// emptyDirSize is the size of a directory without names (BOGO_DIRENT_SIZE in the
	// kernel's mm/shmem.c).
	direntSize   = 20
	emptyDirSize = 2 * direntSize

	// firstCookie is the cookie of the first name; 1 and 2 belong to "." and "..".
	firstCookie = 3

	// scanned is how many names are searched one by one; a directory with more has an
	// index.
	scanned = 8

	// maxName is NAME_MAX, in bytes.
	maxName = 255
)

// directory is the part of an inode that only directories have. Its fields are guarded by
// Tree.mu.
//
// The names of a directory of an image are the image's rows, until the first of them is
// changed: then the directory gets slots. Cookies stay.
//
// Slots are in the order in which the names were made, which is the order of their cookies,
// so that a listing continues where it stopped whatever was removed meanwhile. A changed
// name keeps its place and its cookie. A removed name leaves a gap and its bytes behind, a
// changed one its bytes and its place in the index. There are never many more of these than
// live names, so that a change takes constant time on average.
type directory struct {
	parent uint64 // number of the inode; of the root, its own
	live   int    // names
	image  Image  // the names are its rows from first on; nil: they are slots
	first  uint32

	slots  list[slot]
	index  []uint32  // open addressing by hash: slot number plus one, 0 where free
	names  nameBytes // of all names, those in the gaps included
	cookie uint64    // the last one assigned; 0 for none
	stale  int       // names changed since the last compaction
	head   int       // all slots before it are gaps
	text   int       // bytes of the live names
}

// slot is one name. A gap has inode number 0.
type slot struct {
	ino    uint64 // number of the inode
	cookie uint64
	start  uint32 // of the name, in directory.names
	length uint8  // of the name, 1 to 255
}

var nameSeed = maphash.MakeSeed()

func hashName(name string) uint64 { return maphash.String(nameSeed, name) }

// own makes slots of the names.
func (d *directory) own() {
	if d.image == nil {
		return
	}
	img, first, rows := d.image, d.first, uint32(d.live)
	d.image, d.live = nil, 0
	for row := first; row < first+rows; row++ {
		d.add(img.Name(row), inoOf(img, row))
	}
}

// name returns the name of a slot.
func (d *directory) name(s *slot) string { return d.names.at(s.start, s.length) }

// find returns the slot of a name, nil for none. It is valid until the next change of the
// directory.
func (d *directory) find(name string) *slot {
	if d.index == nil {
		for i := range d.slots.len() {
			if s := d.slots.at(i); s.ino != 0 && d.name(s) == name {
				return s
			}
		}
		return nil
	}
	mask := uint64(len(d.index) - 1)
	for h := hashName(name) & mask; d.index[h] != 0; h = (h + 1) & mask {
		s := d.slots.at(int(d.index[h] - 1))
		if s.ino != 0 && int(s.length) == len(name) && d.name(s) == name {
			return s
		}
	}
	return nil
}

// lookup returns the number of the inode that a name leads to; 0 if the name does not
// exist.
func (d *directory) lookup(name string) uint64 {
	if d.image != nil {
		return lookupRow(d.image, d.first, uint32(d.live), name)
	}
	if s := d.find(name); s != nil {
		return s.ino
	}
	return 0
}

// lookupRow looks for a name among n rows of an image, and returns the number of its inode;
// 0 if the name does not exist.
func lookupRow(img Image, first, n uint32, name string) uint64 {
	row := first + uint32(sort.Search(int(n), func(i int) bool { return img.Name(first+uint32(i)) >= name }))
	if row < first+n && img.Name(row) == name {
		return inoOf(img, row)
	}
	return 0
}

// roomFor returns ENOSPC if the names of the directory would take 4 GiB.
func (d *directory) roomFor() syscall.Errno {
	d.own()
	if d.full() {
		d.compact()
	}
	if d.full() {
		return syscall.ENOSPC
	}
	return 0
}

// full reports whether one more name may not fit.
func (d *directory) full() bool {
	return d.names.len() > math.MaxUint32-2*nameBlock || d.slots.len() == math.MaxUint32
}

// add adds a name that does not exist.
// Preconditions: roomFor returned 0.
func (d *directory) add(name string, ino uint64) {
	d.cookie = max(d.cookie+1, firstCookie)
	d.slots.add(slot{ino: ino, cookie: d.cookie, start: d.names.add(name), length: uint8(len(name))})
	d.text += len(name)
	d.live++
	switch {
	case d.slots.len() <= scanned:
	case d.slots.len()+d.stale > len(d.index)/4*3:
		d.reindex()
	default:
		d.enter(d.slots.len() - 1)
	}
}

// set makes an existing name lead to another inode.
func (d *directory) set(name string, ino uint64) {
	d.own()
	d.find(name).ino = ino
}

// rename changes an existing name to one that does not exist. The slot keeps its place, so
// that a listing in progress does not miss the name, nor see it forever if it is changed
// again and again.
// Preconditions: roomFor returned 0.
func (d *directory) rename(from, to string) {
	s := d.find(from)
	d.text += len(to) - len(from)
	s.start, s.length = d.names.add(to), uint8(len(to))
	d.stale++
	switch {
	case d.wasteful():
		d.compact()
	case d.index == nil:
	case d.slots.len()+d.stale > len(d.index)/4*3:
		d.reindex()
	default:
		d.enter(d.after(0, s.cookie-1))
	}
}

// remove removes an existing name.
func (d *directory) remove(name string) {
	d.own()
	d.find(name).ino = 0
	d.text -= len(name)
	d.live--
	for d.head < d.slots.len() && d.slots.at(d.head).ino == 0 {
		d.head++
	}
	if d.wasteful() {
		d.compact()
	}
}

// wasteful reports whether removed and changed names take too much.
func (d *directory) wasteful() bool {
	gaps, dead := d.slots.len()-d.live, d.names.len()-d.text
	return d.live == 0 || max(gaps, d.stale) > d.live+scanned || dead > d.text+maxName
}

// reindex makes a new index with room for half as many slots again.
func (d *directory) reindex() {
	size := 2 * scanned
	for size/2 < d.slots.len()+d.stale {
		size *= 2
	}
	d.index = make([]uint32, size)
	for i := range d.slots.len() {
		if d.slots.at(i).ino != 0 {
			d.enter(i)
		}
	}
}

// enter enters slot i into the index.
func (d *directory) enter(i int) {
	mask := uint64(len(d.index) - 1)
	h := hashName(d.name(d.slots.at(i))) & mask
	for d.index[h] != 0 {
		h = (h + 1) & mask
	}
	d.index[h] = uint32(i + 1)
}

// compact removes the gaps.
func (d *directory) compact() {
	slots, names := d.slots, d.names
	d.slots, d.index, d.head, d.names = list[slot]{}, nil, 0, nameBytes{}
	d.stale = 0
	for i := range slots.len() {
		if s := *slots.at(i); s.ino != 0 {
			s.start = d.names.add(names.at(s.start, s.length))
			d.slots.add(s)
		}
	}
	if d.slots.len() > scanned {
		d.reindex()
	}
}

// each calls fn for the names with a higher cookie, in the order of their cookies, until it
// returns false.
func (d *directory) each(cookie uint64, fn func(name string, ino, cookie uint64) bool) {
	after := max(cookie, firstCookie-1)
	if d.image != nil {
		for i := after + 1 - firstCookie; i < uint64(d.live); i++ {
			if row := d.first + uint32(i); !fn(d.image.Name(row), inoOf(d.image, row), firstCookie+i) {
				return
			}
		}
		return
	}
	for i := d.after(d.head, after); i < d.slots.len(); i++ {
		if s := d.slots.at(i); s.ino != 0 && !fn(d.name(s), s.ino, s.cookie) {
			return
		}
	}
}

// after returns the number of the first slot from first on with a higher cookie.
func (d *directory) after(first int, cookie uint64) int {
	return first + sort.Search(d.slots.len()-first, func(i int) bool { return d.slots.at(first+i).cookie > cookie })
}

// sorted iterates over the names and the numbers of their inodes, sorted by bytes, as they
// were when it was called.
func (d *directory) sorted() iter.Seq2[string, uint64] {
	type entry struct {
		name string
		ino  uint64
	}
	if img, first, rows := d.image, d.first, uint32(d.live); img != nil {
		return func(yield func(string, uint64) bool) {
			for row := first; row < first+rows && yield(img.Name(row), inoOf(img, row)); row++ {
			}
		}
	}
	entries := make([]entry, 0, d.live)
	for i := range d.slots.len() {
		if s := d.slots.at(i); s.ino != 0 {
			entries = append(entries, entry{d.name(s), s.ino})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return func(yield func(string, uint64) bool) {
		for _, e := range entries {
			if !yield(e.name, e.ino) {
				return
			}
		}
	}
}

// checkName refuses invalid names. The kernel sends none; archives might.
func checkName(name string) syscall.Errno {
	switch {
	case name == "":
		return syscall.ENOENT
	case len(name) > maxName:
		return syscall.ENAMETOOLONG
	case name == "." || name == ".." || strings.ContainsAny(name, "/\x00"):
		return syscall.EINVAL
	}
	return 0
}
