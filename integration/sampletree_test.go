package integration

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sample builds a tree that holds every kind of entry, and every name, mode and
// time that has been trouble to some archiver. Equal calls build equal trees.
type sample struct {
	t     *testing.T
	dir   string
	skip  func(name string) bool // names that are left out; nil: none
	times map[string]timestamp   // those that were chosen; the rest is numbered
	modes []namedMode            // set when everything is there
}

type namedMode struct {
	name string
	mode uint32
}

// names of the sample that not every format can hold. Each is also the prefix of
// what is beneath it.
const (
	longNames    = "names/long"
	binaryNames  = "names/binary"
	longTarget   = "links/long"
	oldTimes     = "times/negative"
	farTimes     = "times/far"
	oddXattrs    = "xattrs/odd"
	escapingLink = "links/escaping"
	absoluteLink = "links/absolute"

	lastNanosecond = "times/last-nanosecond"
	oldNanosecond  = oldTimes + "-nanosecond"
	farNanosecond  = farTimes + "-year-9999"
)

// longHardLink is one of two names of the file "regular".
var longHardLink = longNames + "/hard-" + strings.Repeat("l", 200)

// sparseFiles are the files of the sample with holes, and how many bytes of each
// are data.
var sparseFiles = map[string]int64{
	"sparse/front": 4 << 10,
	"sparse/tail":  4 << 10,
	"sparse/all":   0,
	"sparse/many":  16 * 64 << 10,
}

func buildSample(t *testing.T, dir string, skip func(name string) bool) {
	t.Helper()
	s := &sample{t: t, dir: dir, skip: skip, times: map[string]timestamp{}}
	s.files()
	s.sparse()
	s.directories()
	s.links()
	s.names()
	s.xattrs()
	s.timestamps()
	s.finish()
}

func (s *sample) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *sample) skipped(name string) bool { return s.skip != nil && s.skip(name) }

func (s *sample) path(name string) string { return filepath.Join(s.dir, name) }

// parent makes the directories above a name.
func (s *sample) parent(name string) {
	s.t.Helper()
	s.check(os.MkdirAll(filepath.Dir(s.path(name)), 0o755))
}

func (s *sample) file(name, content string, mode uint32) {
	s.t.Helper()
	if s.skipped(name) {
		return
	}
	s.parent(name)
	s.check(os.WriteFile(s.path(name), []byte(content), 0o600))
	s.modes = append(s.modes, namedMode{name, mode})
}

func (s *sample) mkdir(name string, mode uint32) {
	s.t.Helper()
	if s.skipped(name) {
		return
	}
	s.check(os.MkdirAll(s.path(name), 0o755))
	s.modes = append(s.modes, namedMode{name, mode})
}

func (s *sample) symlink(name, target string) {
	s.t.Helper()
	if s.skipped(name) {
		return
	}
	s.parent(name)
	s.check(os.Symlink(target, s.path(name)))
}

func (s *sample) link(name, to string) {
	s.t.Helper()
	if s.skipped(name) {
		return
	}
	s.parent(name)
	s.check(os.Link(s.path(to), s.path(name)))
}

func (s *sample) xattr(name, attr, value string) {
	s.t.Helper()
	if s.skipped(name) {
		return
	}
	s.check(unix.Setxattr(s.path(name), attr, []byte(value), 0))
}

func (s *sample) files() {
	s.t.Helper()
	s.file("regular", "hello\n", 0o644)
	s.file("empty", "", 0o600)
	s.file("big", sampleNoise(5<<20+17), 0o644)
	for _, mode := range []uint32{0, 0o444, 0o222, 0o777, 0o755, 0o4755, 0o2755, 0o6711, 0o1644} {
		s.file(fmt.Sprintf("modes/file-%04o", mode), "content", mode)
	}
	s.fifo("fifo", 0o620)
}

func (s *sample) fifo(name string, mode uint32) {
	s.t.Helper()
	if s.skipped(name) {
		return
	}
	s.check(unix.Mkfifo(s.path(name), 0o600))
	s.modes = append(s.modes, namedMode{name, mode})
}

// sampleNoise returns n bytes that hardly compress, always the same.
func sampleNoise(n int) string {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b) // never fails
	return string(b)
}

func (s *sample) sparse() {
	s.t.Helper()
	data := sampleNoise(64 << 10)
	s.hole("sparse/front", 8<<20, map[int64]string{8<<20 - 4<<10: data[:4<<10]})
	s.hole("sparse/tail", 8<<20, map[int64]string{0: data[:4<<10]})
	s.hole("sparse/all", 16<<20, nil)
	many := map[int64]string{}
	for i := range int64(16) {
		many[i*256<<10] = data
	}
	s.hole("sparse/many", 4<<20+1, many)
}

// hole makes a file of holes, with data at some offsets.
func (s *sample) hole(name string, size int64, data map[int64]string) {
	s.t.Helper()
	if s.skipped(name) {
		return
	}
	s.parent(name)
	f, err := os.Create(s.path(name))
	s.check(err)
	defer f.Close()
	s.check(f.Truncate(size))
	for off, d := range data {
		_, err := f.WriteAt([]byte(d), off)
		s.check(err)
	}
	s.check(f.Close())
}

func (s *sample) directories() {
	s.t.Helper()
	s.mkdir("dirs/empty", 0o755)
	s.mkdir("dirs/nested/empty/directories", 0o711)
	for _, mode := range []uint32{0, 0o500, 0o555, 0o700, 0o777, 0o1777, 0o2755, 0o2770, 0o3777, 0o7777} {
		s.mkdir(fmt.Sprintf("modes/dir-%04o", mode), mode)
	}
	s.file("modes/dir-0555/file", "in a directory that may not be written", 0o644)
	s.file("modes/dir-0000/file", "in a directory that may not be entered", 0o644)
	s.mkdir(".", 0o750)
}

func (s *sample) links() {
	s.t.Helper()
	s.symlink("links/relative", "../regular")
	s.symlink("links/directory", "../dirs")
	s.symlink("links/dangling", "nowhere")
	s.symlink("links/loop", "loop")
	s.symlink("links/odd target", "with space\nand\xff")
	s.symlink(absoluteLink, "/etc/hostname")
	s.symlink(escapingLink, "../../../outside")
	s.symlink(longTarget, strings.Repeat("target/", 500)+"end")

	s.file("hard/first", "one inode, four names", 0o640)
	s.link("hard/second", "hard/first")
	s.link("a-earlier-directory/third", "hard/first")
	s.link("z-later-directory/fourth", "hard/first")
	s.file("hard/empty", "", 0o600)
	s.link("z-later-directory/empty", "hard/empty")
	s.file("hard/setuid", "x", 0o4755)
	s.link("hard/setuid-too", "hard/setuid")
}

func (s *sample) names() {
	s.t.Helper()
	for _, name := range []string{
		"with space", " leading", "trailing ", "new\nline", "tab\tand\rreturn", "-dash", "--checkpoint=1", "*?[star]",
		`back\slash`, `quote"'`, ".hidden", "..two", "...", "ünïcode-ﬀ", "a=b", "%41", "#hash", "trailing.",
	} {
		s.file("names/"+name, name, 0o644)
	}
	s.file(binaryNames+"-\xff\xfe\x80", "not UTF-8", 0o644)
	s.mkdir(binaryNames+"-directory-\xc3", 0o755)
	for _, n := range []int{99, 100, 101, 155} {
		s.file(fmt.Sprintf("%s/%d/%s", longNames, n, strings.Repeat("n", n)), "long", 0o644)
	}
	s.file(longNames+"/"+strings.Repeat("x", 255), "longest", 0o644)
	s.file(longNames+"/"+strings.Repeat("ü", 127), "longest in UTF-8", 0o644)
	s.mkdir(longNames+"/"+strings.Repeat("d", 255), 0o755)
	s.file(longNames+"/"+strings.Repeat("deep-directory-of-a-deep-path/", 10)+"file", "more than 256 bytes", 0o644)
	s.file(longNames+"/"+strings.Repeat(strings.Repeat("y", 199)+"/", 12)+"file", "more than 2,400 bytes", 0o644)
	s.link(longHardLink, "regular")
}

func (s *sample) xattrs() {
	s.t.Helper()
	s.file("xattrs/file", "with attributes", 0o644)
	s.xattr("xattrs/file", "user.text", "value")
	s.xattr("xattrs/file", "user.binary", "\x00\xff\n=\x00")
	s.xattr("xattrs/file", "user.with.dots.and UPPER", "x")
	s.mkdir("xattrs/directory", 0o755)
	s.xattr("xattrs/directory", "user.directory", "too")
	s.file(oddXattrs, "attributes that some archivers lose", 0o644)
	s.xattr(oddXattrs, "user.empty", "")
	s.xattr(oddXattrs, "user.a=b", "equals")
	s.xattr(oddXattrs, "user.new\nline", "a name")
	s.xattr(oddXattrs, "user.large", sampleNoise(3000))
	s.xattr(".", "user.root", "of the workspace")
}

func (s *sample) timestamps() {
	s.t.Helper()
	s.at("times/nanoseconds", 1_700_000_000, 123_456_789)
	s.at("times/one-nanosecond", 1_700_000_000, 1)
	s.at(lastNanosecond, 1_700_000_000, 999_999_999)
	s.at("times/epoch", 0, 0)
	s.at("times/epoch-microsecond", 0, 1000) // which Python writes as 1e-06
	s.at("times/after-31-bits", 1<<31, 0)
	s.at(oldTimes+"-whole", -1_000_000_000, 0)
	s.at(oldTimes+"-half", -2, 500_000_000) // 1.5 s before the epoch
	s.at(oldNanosecond, -1, 999_999_999)
	s.at(farTimes+"-33-bits", 1<<33+1, 5)
	s.at(farNanosecond, 253_402_300_799, 999_999_999)
	s.at(farTimes+"-40-bits", 1<<40, 1)
}

func (s *sample) at(name string, sec, nsec int64) {
	s.t.Helper()
	s.file(name, name, 0o644)
	s.times[name] = timestamp{sec, nsec}
}

// finish sets modes and times, which making a neighbour would change.
func (s *sample) finish() {
	s.t.Helper()
	for _, m := range s.modes {
		s.check(unix.Chmod(s.path(m.name), m.mode))
	}
	var names []string
	s.check(filepath.WalkDir(s.dir, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, path)
		return err
	}))
	for i, path := range names {
		name, err := filepath.Rel(s.dir, path)
		s.check(err)
		ts, ok := s.times[name]
		if !ok {
			ts = timestamp{1_600_000_000 + int64(i), int64(i) * 1_001_001}
		}
		s.check(setTime(path, ts))
	}
}

// setTime sets the mtime of a name itself, and its atime too.
func setTime(path string, ts timestamp) error {
	spec := unix.Timespec{Sec: ts.sec, Nsec: ts.nsec}
	err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{spec, spec}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return &os.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}
