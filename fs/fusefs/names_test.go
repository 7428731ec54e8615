package fusefs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

var nameScenarios = []scenario{
	{"mkdir and rmdir", func(r *recorder) {
		r.do("mkdir", unix.Mkdir(r.path("d"), 0o751))
		r.do("mkdir again", unix.Mkdir(r.path("d"), 0o751))
		r.do("mkdir below", unix.Mkdir(r.path("d/e"), 0o700))
		r.stat("d")
		r.do("rmdir full", unix.Rmdir(r.path("d")))
		r.do("unlink a directory", unix.Unlink(r.path("d")))
		r.do("rmdir", unix.Rmdir(r.path("d/e")))
		r.stat("d")
		r.file("f", "")
		r.do("rmdir a file", unix.Rmdir(r.path("f")))
		r.do("below a file", unix.Mkdir(r.path("f/g"), 0o700))
		r.do("rmdir none", unix.Rmdir(r.path("none")))
		r.do("rmdir dot", unix.Rmdir(r.path("d")+"/."))
		r.list(".")
	}},
	// Once a file handle was stale as soon as the kernel had forgotten the file.
	{"file handles", func(r *recorder) {
		r.must(unix.Mkdir(r.path("d"), 0o755))
		r.must(unix.Mkdir(r.path("d/e"), 0o755))
		r.file("d/e/f", "content")
		r.file("gone", "")
		names := []string{"d", "d/e", "d/e/f", "gone"}
		handles := map[string]unix.FileHandle{}
		for _, name := range names {
			handle, _, err := unix.NameToHandleAt(unix.AT_FDCWD, r.path(name), 0)
			r.must(err)
			handles[name] = handle
		}
		r.must(unix.Unlink(r.path("gone")))
		r.must(os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0))
		root := r.open(".", unix.O_RDONLY, 0)
		for _, name := range names {
			fd, err := unix.OpenByHandleAt(root, handles[name], unix.O_RDONLY)
			r.do("open by handle: "+name, err)
			if err != nil {
				continue
			}
			if path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); name != "d/e/f" { // a file need not have a path
				r.do("it is called "+filepath.Base(path), err)
			} else {
				r.pread(fd, 10, 0)
			}
			r.must(unix.Close(fd))
		}
		r.content("d/e/f")
	}},
	{"umask and modes", func(r *recorder) {
		old := unix.Umask(0o027)
		defer unix.Umask(old)
		r.do("mkdir", unix.Mkdir(r.path("d"), 0o7777))
		r.do("mknod", unix.Mknod(r.path("f"), unix.S_IFREG|0o6777, 0))
		r.open("g", unix.O_CREAT|unix.O_RDWR, 0o4666)
		r.stat("d")
		r.stat("f")
		r.stat("g")
	}},
	{"nodes of all kinds", func(r *recorder) {
		for name, mode := range map[string]uint32{"fifo": unix.S_IFIFO, "sock": unix.S_IFSOCK, "reg": unix.S_IFREG} {
			r.must(unix.Mknod(r.path(name), mode|0o640, 0))
		}
		r.do("char", unix.Mknod(r.path("char"), unix.S_IFCHR|0o600, int(unix.Mkdev(0x123, 0x45678))))
		r.do("block", unix.Mknod(r.path("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(8, 1))))
		for _, name := range []string{"fifo", "sock", "reg", "char", "block"} {
			r.stat(name)
		}
		r.do("again", unix.Mknod(r.path("fifo"), unix.S_IFIFO, 0))
		_, err := unix.Open(r.path("char"), unix.O_RDONLY, 0)
		r.do("open char", err)
		_, err = unix.Open(r.path("sock"), unix.O_RDONLY, 0)
		r.do("open sock", err)
		_, err = unix.Open(r.path("fifo"), unix.O_WRONLY|unix.O_NONBLOCK, 0)
		r.do("open fifo", err)
		r.list(".")
	}},
	{"fifo carries bytes", func(r *recorder) {
		r.must(unix.Mkfifo(r.path("p"), 0o600))
		fd := r.open("p", unix.O_RDWR, 0)
		n, err := unix.Write(fd, []byte("hello"))
		r.do(fmt.Sprintf("write %d", n), err)
		buf := make([]byte, 9)
		n, err = unix.Read(fd, buf)
		r.do(fmt.Sprintf("read %q", buf[:n]), err)
	}},
	{"unix socket", func(r *recorder) {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		r.must(err)
		defer unix.Close(fd)
		at := &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/s", r.open(".", unix.O_DIRECTORY, 0))}
		r.do("bind", unix.Bind(fd, at))
		r.do("listen", unix.Listen(fd, 1))
		r.do("bind again", unix.Bind(fd, at))
		c, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		r.must(err)
		defer unix.Close(c)
		r.do("connect", unix.Connect(c, at))
		r.stat("s")
	}},
	{"links", func(r *recorder) {
		r.file("a", "content")
		r.do("link", unix.Link(r.path("a"), r.path("b")))
		r.stat("a")
		r.stat("b")
		r.do("link again", unix.Link(r.path("a"), r.path("b")))
		r.must(unix.Mkdir(r.path("d"), 0o755))
		r.do("link a directory", unix.Link(r.path("d"), r.path("e")))
		r.do("link none", unix.Link(r.path("none"), r.path("n")))
		r.changes("link", func() { r.must(unix.Link(r.path("a"), r.path("d/c"))) }, "a", "b", "d", ".")
		r.stat("b")
		r.changes("unlink", func() { r.must(unix.Unlink(r.path("b"))) }, "a", "d/c", ".")
		r.stat("a")
		r.stat("d/c")
		r.must(unix.Unlink(r.path("a")))
		r.stat("d/c")
		r.content("d/c")
		r.must(unix.Symlink("nowhere", r.path("s")))
		r.do("link a symlink", unix.Link(r.path("s"), r.path("t")))
		r.stat("t")
	}},
	{"symlinks", func(r *recorder) {
		r.do("symlink", unix.Symlink("target", r.path("s")))
		r.do("again", unix.Symlink("other", r.path("s")))
		r.stat("s")
		r.do("empty", unix.Symlink("", r.path("x")))
		r.do("long", unix.Symlink(strings.Repeat("x", 4095), r.path("l")))
		r.do("too long", unix.Symlink(strings.Repeat("x", 4096), r.path("m")))
		r.stat("l")
		buf := make([]byte, 5000)
		for _, name := range []string{"s", "l", "none", "."} {
			n, err := unix.Readlink(r.path(name), buf)
			r.do(fmt.Sprintf("readlink %s %.20q %d", name, buf[:max(n, 0)], n), err)
		}
		n, err := unix.Readlink(r.path("s"), buf[:3])
		r.do(fmt.Sprintf("readlink short %q", buf[:n]), err)
		_, err = unix.Open(r.path("s"), unix.O_RDONLY, 0)
		r.do("open dangling", err)
		_, err = unix.Open(r.path("s"), unix.O_RDONLY|unix.O_NOFOLLOW, 0)
		r.do("open nofollow", err)
		r.must(unix.Symlink("loop", r.path("loop")))
		_, err = unix.Open(r.path("loop"), unix.O_RDONLY, 0)
		r.do("open loop", err)
		r.file("target", "through")
		r.content("s")
	}},
	{"names", func(r *recorder) {
		long := strings.Repeat("n", 255)
		r.do("255 bytes", unix.Mkdir(r.path(long), 0o755))
		r.do("256 bytes", unix.Mkdir(r.path(long+"n"), 0o755))
		r.stat(long + "n")
		for _, name := range []string{"sp ace", "new\nline", "\xff\xfe", "ünï", "-", "...", "a\\b"} {
			r.file(name, name)
			r.content(name)
		}
		r.list(".")
		r.stat("none")
		r.stat("none")
		r.file("none", "now")
		r.content("none")
		r.stat("none/x")
	}},
	{"removed directory", func(r *recorder) {
		r.must(unix.Mkdir(r.path("d"), 0o755))
		fd := r.open("d", unix.O_DIRECTORY, 0)
		r.must(unix.Rmdir(r.path("d")))
		r.do("mkdir in it", unix.Mkdirat(fd, "x", 0o755))
		_, err := unix.Openat(fd, "y", unix.O_CREAT|unix.O_WRONLY, 0o600)
		r.do("create in it", err)
		r.do("symlink in it", unix.Symlinkat("t", fd, "z"))
		buf := make([]byte, 4096)
		n, err := unix.ReadDirent(fd, buf)
		r.do(fmt.Sprintf("list it %d", n), err)
		r.fstat(fd)
	}},
	{"times of parents", func(r *recorder) {
		r.must(unix.Mkdir(r.path("p"), 0o755))
		r.must(unix.Mkdir(r.path("q"), 0o755))
		r.changes("create", func() { r.file("p/f", "") }, "p", "q", ".")
		r.changes("mkdir", func() { r.must(unix.Mkdir(r.path("p/d"), 0o755)) }, "p", "q")
		r.changes("symlink", func() { r.must(unix.Symlink("t", r.path("p/s"))) }, "p")
		r.changes("rename", func() { r.must(unix.Rename(r.path("p/f"), r.path("q/f"))) }, "p", "q", "p/f>q/f")
		r.changes("rename a directory", func() { r.must(unix.Rename(r.path("p/d"), r.path("q/d"))) }, "p", "q", "p/d>q/d")
		r.changes("rename within", func() { r.must(unix.Rename(r.path("q/d"), r.path("q/e"))) }, "p", "q", "q/d>q/e")
		r.stat("p")
		r.stat("q")
		r.changes("unlink", func() { r.must(unix.Unlink(r.path("q/f"))) }, "p", "q")
		r.changes("rmdir", func() { r.must(unix.Rmdir(r.path("q/e"))) }, "q")
		r.changes("write", func() { r.file("p/s2", "x") }, "p", ".")
		r.changes("overwrite", func() { r.file("p/s2", "y") }, "p", "p/s2")
		r.changes("read", func() { r.content("p/s2") }, "p", "p/s2")
	}},
	{"rename", func(r *recorder) {
		mv := func(from, to string) { r.do("rename "+from+" "+to, unix.Rename(r.path(from), r.path(to))) }
		for _, d := range []string{"d", "d/e", "empty", "full", "full/x"} {
			r.must(unix.Mkdir(r.path(d), 0o755))
		}
		r.file("a", "A")
		r.file("b", "B")
		r.must(unix.Link(r.path("b"), r.path("b2")))
		fd := r.open("b", unix.O_RDONLY, 0)
		mv("a", "b")
		r.fstat(fd)
		r.content("b")
		r.content("b2")
		r.stat("b2")
		mv("none", "x")
		mv("b", "d")
		mv("d", "b")
		mv("d", "full")
		mv("d", "empty")
		mv("empty", "empty/e/deep")
		mv("empty", "empty/inside")
		mv("b", "b/x")
		mv("b", "b")
		r.must(unix.Link(r.path("b"), r.path("b3")))
		mv("b", "b3")
		r.stat("b3")
		mv("empty/e", "full/x")
		mv("b", strings.Repeat("n", 256))
		r.stat(".")
		r.stat("full")
		r.stat("empty")
		r.list(".")
		r.list("full")
	}},
	{"rename flags", func(r *recorder) {
		mv := func(from, to string, flags uint) {
			r.do(fmt.Sprintf("rename %s %s %d", from, to, flags),
				unix.Renameat2(unix.AT_FDCWD, r.path(from), unix.AT_FDCWD, r.path(to), flags))
		}
		r.must(unix.Mkdir(r.path("d"), 0o755))
		r.file("d/x", "X")
		r.file("a", "A")
		r.file("b", "B")
		mv("a", "b", unix.RENAME_NOREPLACE)
		mv("a", "c", unix.RENAME_NOREPLACE)
		mv("c", "b", unix.RENAME_EXCHANGE)
		r.content("b")
		r.content("c")
		mv("c", "none", unix.RENAME_EXCHANGE)
		mv("c", "d", unix.RENAME_EXCHANGE)
		r.content("d")
		r.list("c")
		mv("c", "c/x", unix.RENAME_EXCHANGE)
		r.must(unix.Mkdir(r.path("e"), 0o755))
		r.must(unix.Mkdir(r.path("e/sub"), 0o755))
		r.changes("exchange", func() { mv("c/x", "e/sub", unix.RENAME_EXCHANGE) }, "c", "e", "c/x>e/sub", "e/sub>c/x")
		r.stat("c")
		r.stat("e")
		mv("b", "d", unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE)
		mv("b", "d", 1<<5)
		r.list(".")
	}},
	{"listing while it changes", func(r *recorder) {
		const count = 1000
		r.must(unix.Mkdir(r.path("d"), 0o755))
		for i := range count {
			r.must(unix.Mknod(r.path(fmt.Sprintf("d/%d", i)), unix.S_IFREG|0o600, 0))
		}
		fd := r.open("d", unix.O_DIRECTORY, 0)
		seen := map[string]int{}
		buf := make([]byte, 512)
		for {
			n, err := unix.ReadDirent(fd, buf)
			r.must(err)
			if n == 0 {
				break
			}
			_, _, names := unix.ParseDirent(buf[:n], -1, nil)
			for _, name := range names {
				seen[name]++
				r.must(unix.Unlink(r.path("d/" + name)))
			}
		}
		twice := 0
		for _, n := range seen {
			twice += n - 1
		}
		r.note("seen %d, twice %d", len(seen), twice)
		r.list("d")
		r.do("rmdir", unix.Rmdir(r.path("d")))
	}},
	{"directory size", func(r *recorder) {
		r.must(unix.Mkdir(r.path("d"), 0o755))
		r.stat("d")
		for i := range 10 {
			r.file(fmt.Sprintf("d/%d", i), "")
		}
		r.stat("d")
		r.must(unix.Unlink(r.path("d/3")))
		r.stat("d")
	}},
	{"O_TMPFILE", func(r *recorder) {
		fd := r.open(".", unix.O_TMPFILE|unix.O_RDWR, 0o640)
		_, err := unix.Write(fd, []byte("nameless"))
		r.do("write", err)
		r.fstat(fd)
		r.list(".")
		self := fmt.Sprintf("/proc/self/fd/%d", fd)
		r.do("link", unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, r.path("named"), unix.AT_SYMLINK_FOLLOW))
		r.stat("named")
		r.fstat(fd)
		r.content("named")
		ex := r.open(".", unix.O_TMPFILE|unix.O_RDWR|unix.O_EXCL, 0o600)
		self = fmt.Sprintf("/proc/self/fd/%d", ex)
		r.do("link exclusive", unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, r.path("ex"), unix.AT_SYMLINK_FOLLOW))
	}},
}
