package integration

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// timestamp is an mtime as returned by stat(2).
type timestamp struct{ sec, nsec int64 }

// entry is what an archive keeps of one name: everything that a later reader of
// the workspace could notice.
type entry struct {
	kind   string // as kindOf has it
	mode   uint32 // permission bits, setuid, setgid and sticky
	mtime  timestamp
	nlink  uint64            // of everything except directories
	link   string            // the first name of the same inode, if that is another one
	target string            // of a symbolic link
	size   int64             // of a file
	digest string            // of a file's content
	xattrs map[string]string // user.* only
}

// snapshotOf describes every name beneath dir, and dir itself as ".". Names are
// byte strings: slashes separate, everything else is allowed.
func snapshotOf(t *testing.T, dir string) map[string]entry {
	t.Helper()
	all := map[string]entry{}
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		e, ino, err := describe(path)
		if err != nil {
			return err
		}
		if e.kind != "directory" {
			if f, ok := first[ino]; ok {
				e.link = f
			} else {
				first[ino] = name
			}
		}
		all[name] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func describe(path string) (entry, uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return entry{}, 0, &os.PathError{Op: "lstat", Path: path, Err: err}
	}
	e := entry{
		kind:  kindOf(st.Mode),
		mode:  st.Mode & 0o7777,
		mtime: timestamp{st.Mtim.Sec, st.Mtim.Nsec},
	}
	if e.kind != "directory" {
		e.nlink = uint64(st.Nlink)
	}
	var err error
	switch e.kind {
	case "symlink":
		e.target, err = os.Readlink(path)
	case "file":
		e.size = st.Size
		e.digest, err = digest(path)
	}
	if err == nil {
		e.xattrs, err = xattrsOf(path)
	}
	return e, st.Ino, err
}

func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return "file"
	case unix.S_IFDIR:
		return "directory"
	case unix.S_IFLNK:
		return "symlink"
	case unix.S_IFIFO:
		return "fifo"
	}
	return fmt.Sprintf("kind %#o", mode&unix.S_IFMT)
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// xattrsOf returns the user.* extended attributes; nil if there are none.
func xattrsOf(path string) (map[string]string, error) {
	list := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Llistxattr(path, list)
	if err != nil {
		return nil, &os.PathError{Op: "llistxattr", Path: path, Err: err}
	}
	var all map[string]string
	value := make([]byte, 64<<10) // XATTR_SIZE_MAX
	for name := range bytes.SplitSeq(list[:n], []byte{0}) {
		if !bytes.HasPrefix(name, []byte("user.")) {
			continue
		}
		size, err := unix.Lgetxattr(path, string(name), value)
		if err != nil {
			return nil, &os.PathError{Op: "lgetxattr", Path: path, Err: err}
		}
		if all == nil {
			all = map[string]string{}
		}
		all[string(name)] = string(value[:size])
	}
	return all, nil
}

// diff lists how two snapshots differ, sorted by name.
func diff(want, got map[string]entry) []string {
	var lines []string
	for name, w := range want {
		g, ok := got[name]
		if !ok {
			lines = append(lines, fmt.Sprintf("%q: missing", name))
			continue
		}
		for _, d := range diffEntry(w, g) {
			lines = append(lines, fmt.Sprintf("%q: %s", name, d))
		}
	}
	for name, g := range got {
		if _, ok := want[name]; !ok {
			lines = append(lines, fmt.Sprintf("%q: not expected, a %s", name, g.kind))
		}
	}
	slices.Sort(lines)
	return lines
}

func diffEntry(want, got entry) []string {
	var lines []string
	field := func(name string, want, got any) {
		if w, g := fmt.Sprintf("%+q", fmt.Sprint(want)), fmt.Sprintf("%+q", fmt.Sprint(got)); w != g {
			lines = append(lines, fmt.Sprintf("%s is %s, want %s", name, g, w))
		}
	}
	field("kind", want.kind, got.kind)
	field("mode", fmt.Sprintf("%04o", want.mode), fmt.Sprintf("%04o", got.mode))
	field("mtime", want.mtime, got.mtime)
	field("link count", want.nlink, got.nlink)
	field("hard link to", want.link, got.link)
	field("target", want.target, got.target)
	field("size", want.size, got.size)
	field("content", want.digest, got.digest)
	field("extended attributes", want.xattrs, got.xattrs)
	return lines
}

// mustEqual fails the test if two snapshots differ, with the first differences.
func mustEqual(t *testing.T, when string, want, got map[string]entry) {
	t.Helper()
	const most = 30
	lines := diff(want, got)
	if len(lines) == 0 {
		return
	}
	if n := len(lines); n > most {
		lines = append(lines[:most], fmt.Sprintf("and %d more", n-most))
	}
	t.Errorf("%s: the trees differ:\n%s", when, strings.Join(lines, "\n"))
}

// work mounts a workspace by exec, runs fn while the command of exec waits, and
// lets it end well, so that what fn did is stored. flags are exec's.
func (e *env) work(url string, fn func(dir string), flags ...string) {
	e.t.Helper()
	args := append(append([]string{"exec"}, flags...), url, "--", "sh", "-c", `pwd && read -r _`)
	cmd := e.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		e.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	ended := false
	end := func() error {
		ended = true
		stdin.Close()
		return cmd.Wait()
	}
	defer func() { // fn failed the test: read sees the end of its input, and nothing is stored
		if !ended {
			_ = end()
		}
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = end() // stderr says more
		e.t.Fatalf("exec %s: %s", url, stderr.String())
	}
	fn(strings.TrimSuffix(line, "\n"))
	if _, err := io.WriteString(stdin, "\n"); err != nil {
		e.t.Fatal(err)
	}
	if err := end(); err != nil {
		e.t.Fatalf("exec %s: %v\n%s", url, err, stderr.String())
	}
}

// look takes a snapshot of a workspace through a read-only mount.
func (e *env) look(url string, flags ...string) map[string]entry {
	e.t.Helper()
	var all map[string]entry
	e.work(url, func(dir string) { all = snapshotOf(e.t, dir) }, append(flags, "--read-only")...)
	return all
}

// memoryDir makes a directory in tmpfs, the file system that a mount is measured
// against.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "wd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
