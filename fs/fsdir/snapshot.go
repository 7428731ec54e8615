package fsdir

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/eintr"
)

// Snapshot records the state of a directory: names, attributes and, on request, sums of the
// content. Comparing two snapshots shows every change in between, whoever made it: any
// change of a file changes its ctime, which nobody can set. Dir.StampsMappings describes
// the one exception.
type Snapshot struct {
	sums   bool              // it has sums of the content
	names  map[string]fileID // by path; the directory itself is ""
	inodes map[fileID]stamp
}

// fileID identifies a file for good: the number of an inode may be reused, but by a file
// with a later birth time. Not every file system knows birth times.
type fileID struct {
	major, minor uint32
	ino          uint64
	born         unix.StatxTimestamp // zero if not known
}

// stamp is what changes with a file.
type stamp struct {
	mode, uid, gid uint32
	size           int64
	mtime, ctime   unix.StatxTimestamp
	parent         fileID // of a directory, which has one name only
	name           string // likewise
	sum            uint64 // of the content, if the snapshot has sums
}

func (s stamp) isDir() bool  { return s.mode&unix.S_IFMT == unix.S_IFDIR }
func (s stamp) isFile() bool { return s.mode&unix.S_IFMT == unix.S_IFREG }

// comparable returns the stamp without the fields that only one of two snapshots has.
func (s stamp) comparable(a, b *Snapshot) stamp {
	if !a.sums || !b.sums {
		s.sum = 0
	}
	return s
}

// Take makes a snapshot; with sums it reads all content. Errors: ErrChanged if it notices
// that the directory changes meanwhile; a *fs.TooLongError; else errors of the file system,
// with the path in their text.
func (d *Dir) Take(ctx context.Context, sums bool) (*Snapshot, error) {
	s := &Snapshot{sums: sums, names: map[string]fileID{}, inodes: map[fileID]stamp{}}
	if err := s.add(ctx, d.fd, "", "", fileID{}); err != nil {
		return nil, err
	}
	walk := newDescent(d.fd)
	defer walk.close()
	return s, s.directory(ctx, walk, "")
}

// directory adds the content of the directory where the walk is.
func (s *Snapshot) directory(ctx context.Context, walk *descent, path string) error {
	names, err := namesOf(walk.at)
	if err != nil {
		return named(path, err)
	}
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := s.entry(ctx, walk, name, fs.Join(path, name), s.names[path]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Snapshot) entry(ctx context.Context, walk *descent, name, path string, parent fileID) error {
	if err := fs.CheckPath(path); err != nil {
		return err
	}
	err := s.add(ctx, walk.at, name, path, parent)
	if err != nil {
		return gone(path, err)
	}
	if !s.inodes[s.names[path]].isDir() {
		return nil
	}
	if err := walk.enter(name, unix.O_RDONLY); err != nil {
		return gone(path, err)
	}
	if err := s.directory(ctx, walk, path); err != nil {
		return err
	}
	return named(path, walk.leave(unix.O_RDONLY))
}

// gone turns the error for a listed name that has changed since into ErrChanged.
func gone(path string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		err = ErrChanged
	}
	return named(path, err)
}

// add adds one name; "" is dir itself.
func (s *Snapshot) add(ctx context.Context, dir int, name, path string, parent fileID) error {
	var st unix.Statx_t
	const want = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	err := eintr.Retry(func() error {
		return unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH, want, &st)
	})
	if err != nil {
		return err
	}
	id := fileID{major: st.Dev_major, minor: st.Dev_minor, ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.born = st.Btime
	}
	mark := stamp{
		mode: uint32(st.Mode), uid: st.Uid, gid: st.Gid, size: int64(st.Size),
		mtime: st.Mtime, ctime: st.Ctime,
	}
	if mark.isDir() {
		mark.parent, mark.name = parent, name
	}
	if _, seen := s.inodes[id]; s.sums && !seen && mark.isFile() {
		if mark.sum, err = s.sumOf(ctx, dir, name, mark.size); err != nil {
			return err
		}
	} else if seen {
		mark.sum = s.inodes[id].sum
	}
	s.names[path], s.inodes[id] = id, mark
	return nil
}

// Len returns the number of files and directories. A file counts once, however many names
// it has.
func (s *Snapshot) Len() int64 { return int64(len(s.inodes)) }

// Bytes returns the sum of the sizes of the files.
func (s *Snapshot) Bytes() int64 {
	var sum int64
	for _, mark := range s.inodes {
		if mark.isFile() {
			sum += mark.size
		}
	}
	return sum
}

// Equal reports whether nothing changed in between, times included.
func (s *Snapshot) Equal(later *Snapshot) bool {
	if len(s.names) != len(later.names) || len(s.inodes) != len(later.inodes) {
		return false
	}
	for id, now := range later.inodes {
		was, ok := s.inodes[id]
		if !ok || was.comparable(s, later) != now.comparable(s, later) {
			return false
		}
	}
	for path, id := range later.names {
		if s.names[path] != id {
			return false
		}
	}
	return true
}

// Changes counts the differences in a later snapshot, as fs.Tree.Changes does, but less
// exactly: a file that differs only in its ctime counts as Modified, even if it was only
// given what it already had.
func (s *Snapshot) Changes(later *Snapshot) fs.Changes {
	var c fs.Changes
	for id, now := range later.inodes {
		was, ok := s.inodes[id]
		switch {
		case !ok:
			c.Created++
		case now.comparable(s, later).modified(was.comparable(s, later)):
			c.Modified++
		default:
			continue
		}
		if now.isFile() {
			c.Bytes += now.size
		}
	}
	for id := range s.inodes {
		if _, ok := later.inodes[id]; !ok {
			c.Removed++
		}
	}
	return c
}

// List returns the paths that differ in a later snapshot, in archive order. It is as exact
// as Changes; the time of the last change of a moved entry does not count.
func (s *Snapshot) List(later *Snapshot) []fs.PathChange {
	l := lister{list: fs.ChangeList{}, numbers: map[fileID]uint64{}}
	was, is := s.directories(), later.directories()
	for path, id := range s.names {
		if !later.stands(path, id, s, is) {
			l.list.Gone(path, l.number(id), s.inodes[id].mode, s.inodes[id].size)
		}
	}
	for path, id := range later.names {
		now := later.inodes[id].comparable(s, later)
		before, known := s.inodes[id]
		before = before.comparable(s, later)
		if !s.stands(path, id, later, was) {
			l.list.Came(path, l.number(id), now.mode, now.size)
			before.ctime, before.parent, before.name = now.ctime, now.parent, now.name
		}
		if known && now.modified(before) {
			l.list.Changed(path, now.mode, now.size)
		}
	}
	return l.list.Sum()
}

// lister is one List.
type lister struct {
	list    fs.ChangeList
	numbers map[fileID]uint64
}

func (l *lister) number(id fileID) uint64 {
	n, ok := l.numbers[id]
	if !ok {
		n = uint64(len(l.numbers)) + 1
		l.numbers[id] = n
	}
	return n
}

// directories returns the paths of directories.
func (s *Snapshot) directories() map[fileID]string {
	paths := map[fileID]string{}
	for path, id := range s.names {
		if s.inodes[id].isDir() {
			paths[id] = path
		}
	}
	return paths
}

// stands reports whether a name of another snapshot leads to the same file here, in the
// same directory, which may have moved. paths are the paths of directories here.
func (s *Snapshot) stands(path string, id fileID, other *Snapshot, paths map[fileID]string) bool {
	if path == "" {
		return s.names[""] == id
	}
	in, name := fs.Split(path)
	dir, ok := paths[other.names[in]]
	return ok && s.names[fs.Join(dir, name)] == id
}

// modified reports whether an inode differs. The size and times of a directory, which
// follow from its names, do not count.
func (s stamp) modified(was stamp) bool {
	if !s.isDir() {
		return s != was
	}
	if s.mtime == was.mtime && s.ctime != was.ctime {
		return true // no name was made or removed, so the directory itself was changed
	}
	s.size, s.mtime, s.ctime = was.size, was.mtime, was.ctime
	return s != was
}

// settlePatience limits the wait in Settle: the clock of a file server may be ahead of
// ours.
const settlePatience = 100 * time.Millisecond

// Settle waits until any further change gets a later ctime than the snapshot has seen. File
// systems take ctimes from a clock that ticks in milliseconds (CLOCK_REALTIME_COARSE,
// clock_gettime(2)).
func (s *Snapshot) Settle(ctx context.Context) error { return settle(ctx, s.newest()) }

func settle(ctx context.Context, newest unix.StatxTimestamp) error {
	for end := time.Now().Add(settlePatience); time.Now().Before(end); {
		var now unix.Timespec
		if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now) != nil || later(now, newest) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func later(now unix.Timespec, t unix.StatxTimestamp) bool {
	return now.Sec > t.Sec || now.Sec == t.Sec && now.Nsec > int64(t.Nsec)
}

func (s *Snapshot) newest() (t unix.StatxTimestamp) {
	for _, mark := range s.inodes {
		if later(unix.Timespec{Sec: mark.ctime.Sec, Nsec: int64(mark.ctime.Nsec)}, t) {
			t = mark.ctime
		}
	}
	return t
}

// FileNumber identifies an open file as the kernel does.
type FileNumber struct {
	Major, Minor uint32 // the device of the file system
	Ino          uint64
}

// Numbers returns all files of the snapshot, for a search for the processes that use them.
func (s *Snapshot) Numbers() map[FileNumber]bool {
	all := make(map[FileNumber]bool, len(s.inodes))
	for id := range s.inodes {
		all[FileNumber{id.major, id.minor, id.ino}] = true
	}
	return all
}
