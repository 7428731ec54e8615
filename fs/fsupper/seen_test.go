package fsupper

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// seen is all that there is to see of something: a line for each name, without what file
// it is, and the groups of names that lead to one file.
type seen struct {
	lines  map[string]string
	groups map[any][]string
}

func newSeen() *seen { return &seen{map[string]string{}, map[any][]string{}} }

func (s *seen) add(path string, key any, mode, uid, gid uint32, mtime fs.Time, rdev uint64, size int64, content string, xattrs []string) {
	if mode&unix.S_IFMT != unix.S_IFDIR {
		s.groups[key] = append(s.groups[key], path)
	}
	slices.Sort(xattrs)
	s.lines[path] = fmt.Sprintf("%#o %d:%d %d.%09d dev %#x, %d bytes %s %q", mode, uid, gid, mtime.Sec, mtime.Nsec, rdev, size, content, xattrs)
}

// links are the groups of several names.
func (s *seen) links() (all []string) {
	for _, names := range s.groups {
		if len(names) > 1 {
			slices.Sort(names)
			all = append(all, strings.Join(names, " = "))
		}
	}
	slices.Sort(all)
	return all
}

// differences compares what is seen with what is wanted.
func (s *seen) differences(want *seen) (all []string) {
	for path, line := range want.lines {
		if got, ok := s.lines[path]; !ok {
			all = append(all, fmt.Sprintf("%s is missing", path))
		} else if got != line {
			all = append(all, fmt.Sprintf("%s\n    is   %s\n    want %s", path, got, line))
		}
	}
	for path := range s.lines {
		if _, ok := want.lines[path]; !ok {
			all = append(all, fmt.Sprintf("%s is too much", path))
		}
	}
	slices.Sort(all)
	if got, want := s.links(), want.links(); !slices.Equal(got, want) {
		all = append(all, fmt.Sprintf("links\n    are  %q\n    want %q", got, want))
	}
	return all
}

// shown is what a directory shows.
func shown(tb testing.TB, root string) *seen {
	tb.Helper()
	s := newSeen()
	must(tb, filepath.WalkDir(root, func(p string, _ iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		content, size := "", int64(0)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			size = st.Size
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			content = digest(tb, f)
		case unix.S_IFLNK:
			if content, err = os.Readlink(p); err != nil {
				return err
			}
		}
		rel, err := filepath.Rel(root, p)
		s.add(rel, [2]uint64{st.Dev, st.Ino}, st.Mode, st.Uid, st.Gid, timeOf(st.Mtim), st.Rdev, size, content, xattrsAt(tb, p))
		return err
	}))
	return s
}

func xattrsAt(tb testing.TB, p string) (all []string) {
	tb.Helper()
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(p, buf)
	must(tb, err)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "system.") {
			continue
		}
		value := make([]byte, 1<<16)
		n, err := unix.Lgetxattr(p, name, value)
		must(tb, err)
		all = append(all, name+"="+string(value[:n]))
	}
	return all
}

// held is what a tree holds.
func held(tb testing.TB, t *fs.Tree) *seen {
	tb.Helper()
	s := newSeen()
	must(tb, t.Walk(func(path string, n *fs.Inode, a fs.Attr) error {
		content, size := "", int64(0)
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			size = a.Size
			content = digest(tb, io.NewSectionReader(readerOf{t, n}, 0, size))
		case syscall.S_IFLNK:
			content, _ = t.Readlink(n)
		}
		if path == "" {
			path = "."
		}
		var xattrs []string
		names, errno := t.ListXattr(n)
		for _, name := range names {
			value, errno := t.GetXattr(n, name)
			must(tb, orNil(errno))
			xattrs = append(xattrs, name+"="+string(value))
		}
		s.add(path, n.Ino(), a.Mode, a.UID, a.GID, a.Mtime, uint64(a.Rdev), size, content, xattrs)
		return orNil(errno)
	}))
	return s
}

type readerOf struct {
	t *fs.Tree
	n *fs.Inode
}

func (r readerOf) ReadAt(p []byte, off int64) (int, error) {
	got, errno := r.t.ReadAt(r.n, p, off)
	if errno == 0 && got < len(p) {
		return got, io.EOF
	}
	return got, orNil(errno)
}

// digest returns a digest of what r reads. Blocks of zeros count by their place alone: the
// holes of the largest files have gigabytes.
func digest(tb testing.TB, r io.Reader) string {
	tb.Helper()
	sum := sha256.New()
	block, zeros := make([]byte, mib), make([]byte, mib)
	for off := int64(0); ; {
		n, err := io.ReadFull(r, block)
		off += int64(n)
		if !bytes.Equal(block[:n], zeros[:n]) {
			fmt.Fprintf(sum, "%d ", off)
			sum.Write(block[:n])
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return fmt.Sprintf("%d %x", off, sum.Sum(nil)[:6])
		}
		must(tb, err)
	}
}

// wantSame fails with some of the differences.
func wantSame(tb testing.TB, what string, got, want *seen) {
	tb.Helper()
	if all := got.differences(want); len(all) > 0 {
		tb.Fatalf("%s: %d differences:\n  %s", what, len(all), strings.Join(all[:min(len(all), 12)], "\n  "))
	}
}

// asArchived leaves out what archives do not hold.
func (s *seen) asArchived() {
	for path, line := range s.lines {
		s.lines[path] = notArchived.ReplaceAllString(line, "")
		if strings.HasPrefix(line, "0140") { // a socket
			delete(s.lines, path)
		}
	}
	for key, names := range s.groups {
		if strings.HasPrefix(s.lines[names[0]], "0100") {
			continue
		}
		delete(s.groups, key) // hard links of other kinds are separate entries
	}
	delete(s.lines, ".") // which the record has
}

// notArchived are extended attributes that no archive has.
var notArchived = regexp.MustCompile(` "trusted[^"]*"|"trusted[^"]*" ?`)
