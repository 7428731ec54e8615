package integration

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// onStored is a probe of a file "f" that came with the archive. More names have a file of
// their own.
func onStored(call func(t *testing.T, dir string) string, more ...string) probe {
	return probe{
		before: func(t *testing.T, dir string) string {
			for _, name := range append(more, "f") {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte("content"), 0o644))
			}
			return ""
		},
		after: call,
	}
}

// mappedBeforeTheFirstChange maps a file by a descriptor for reading, and says what the
// mapping shows when the file is changed.
func mappedBeforeTheFirstChange(t *testing.T, dir string) string {
	name := filepath.Join(dir, "f")
	reader, err := os.Open(name)
	must(t, err)
	defer reader.Close()
	mapped, err := unix.Mmap(int(reader.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	must(t, err)
	defer func() { must(t, unix.Munmap(mapped)) }()
	if got := string(mapped[:7]); got != "content" {
		return got
	}
	writer, err := os.OpenFile(name, os.O_WRONLY, 0)
	must(t, err)
	must(t, errors.Join(second(writer.WriteString("changed")), writer.Close()))
	return string(mapped[:7])
}

// openedAfterChmod changes the mode of a file, opens it for writing, and says whether
// mtime is another one by that.
func openedAfterChmod(t *testing.T, dir string) string {
	name := filepath.Join(dir, "f")
	must(t, os.Chmod(name, 0o600))
	before := statOf(t, dir, "f").Mtim
	tick()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	must(t, f.Close())
	if statOf(t, dir, "f").Mtim == before {
		return "the same mtime"
	}
	return "a new mtime"
}

// changedWhenRemoved changes the mode of a file that is open and has no name any more.
func changedWhenRemoved(t *testing.T, dir string) string {
	f, err := os.Open(filepath.Join(dir, "f"))
	must(t, err)
	defer f.Close()
	must(t, os.Remove(f.Name()))
	return outcome(unix.Fchmod(int(f.Fd()), 0o600))
}

// copiedRange copies from a file to one that is made now.
func copiedRange(t *testing.T, dir string) string {
	in, err := os.Open(filepath.Join(dir, "f"))
	must(t, err)
	defer in.Close()
	out, err := os.Create(filepath.Join(dir, "new"))
	must(t, err)
	defer out.Close()
	return outcome(second(unix.CopyFileRange(int(in.Fd()), nil, int(out.Fd()), nil, 7, 0)))
}

// whiteoutDevice makes a character device 0:0, which is what an overlay marks with that a
// name was removed.
func whiteoutDevice(t *testing.T, dir string) string {
	name := filepath.Join(dir, "device")
	made := outcome(unix.Mknod(name, unix.S_IFCHR|0o600, 0))
	if made == answerOK {
		must(t, os.Remove(name))
	}
	return made
}

// accessACL grants more rights than any mode can express: version 2, and one entry each for
// the owner, a user, the group, the mask and others.
const accessACL = "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x02\x00\x04\x00\x01\x00\x00\x00" +
	"\x04\x00\x05\x00\xff\xff\xff\xff\x10\x00\x05\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff"

// storedACL reports whether an access ACL comes back.
var storedACL = probe{
	before: func(t *testing.T, dir string) string {
		_ = unix.Setxattr(dir, "system.posix_acl_access", []byte(accessACL), 0) // not every view has it
		return ""
	},
	after: func(t *testing.T, dir string) string {
		_, err := unix.Getxattr(dir, "system.posix_acl_access", make([]byte, 100))
		return keptOrNot(err == nil)
	},
}

// merged makes a name in a directory that came with the archive and has a subdirectory,
// and returns what stat(2) reports of the directory.
func merged(say func(unix.Stat_t) string) probe {
	return probe{
		before: func(t *testing.T, dir string) string {
			must(t, os.MkdirAll(filepath.Join(dir, "d", "sub"), 0o755))
			return ""
		},
		after: func(t *testing.T, dir string) string {
			must(t, os.WriteFile(filepath.Join(dir, "d", "new"), nil, 0o644))
			return say(statOf(t, dir, "d"))
		},
	}
}
