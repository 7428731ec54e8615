package fusefs

import (
	"fmt"
	"sort"
	"strings"

	"golang.org/x/sys/unix"
)

var attrScenarios = []scenario{
	{"chmod and chown", func(r *recorder) {
		r.file("f", "x")
		r.changes("chmod", func() { r.must(unix.Chmod(r.path("f"), 0o7654)) }, "f", ".")
		r.stat("f")
		r.changes("chown", func() { r.must(unix.Chown(r.path("f"), 12, 34)) }, "f")
		r.stat("f")
		r.must(unix.Chmod(r.path("f"), 0o2640)) // no group execution: sgid is a lock mark
		r.do("chown gid only", unix.Chown(r.path("f"), -1, 35))
		r.stat("f")
		r.must(unix.Mkdir(r.path("d"), 0o755))
		r.must(unix.Chmod(r.path("d"), 0o7777))
		r.do("chown directory", unix.Chown(r.path("d"), 5, 6))
		r.stat("d")
		r.must(unix.Symlink("f", r.path("s")))
		r.do("lchown", unix.Lchown(r.path("s"), 7, 8))
		r.stat("s")
		r.stat("f")
		r.changes("chown to nothing", func() { r.must(unix.Chown(r.path("f"), -1, -1)) }, "f")
	}},
	{"setgid directory", func(r *recorder) {
		r.must(unix.Mkdir(r.path("d"), 0o755))
		r.must(unix.Chown(r.path("d"), 0, 77))
		r.must(unix.Chmod(r.path("d"), 0o2775))
		r.file("d/f", "")
		r.must(unix.Mkdir(r.path("d/e"), 0o755))
		r.must(unix.Symlink("x", r.path("d/s")))
		r.must(unix.Mknod(r.path("d/p"), unix.S_IFIFO|0o600, 0))
		r.open("d/g", unix.O_CREAT|unix.O_WRONLY, 0o2755)
		fd := r.open("d", unix.O_TMPFILE|unix.O_RDWR, 0o644)
		r.fstat(fd)
		for _, name := range []string{"d", "d/f", "d/e", "d/s", "d/p", "d/g"} {
			r.stat(name)
		}
	}},
	{"utimensat", func(r *recorder) {
		r.file("f", "x")
		set := func(name string, a, m unix.Timespec) {
			err := unix.UtimesNanoAt(unix.AT_FDCWD, r.path(name), []unix.Timespec{a, m}, unix.AT_SYMLINK_NOFOLLOW)
			r.do(fmt.Sprintf("utimensat %s %v %v", name, a, m), err)
		}
		show := func(name string) {
			var st unix.Stat_t
			r.must(unix.Lstat(r.path(name), &st))
			r.note("times of %s: %v %v", name, st.Atim, st.Mtim)
		}
		omit := unix.Timespec{Nsec: unix.UTIME_OMIT}
		set("f", unix.Timespec{Sec: 1, Nsec: 2}, unix.Timespec{Sec: 3, Nsec: 999999999})
		show("f")
		set("f", omit, unix.Timespec{Sec: -5, Nsec: 7})
		show("f")
		set("f", unix.Timespec{Sec: 1 << 33}, omit)
		show("f")
		r.must(unix.Mkdir(r.path("d"), 0o755))
		set("d", unix.Timespec{Sec: 11}, unix.Timespec{Sec: -12})
		show("d")
		r.must(unix.Symlink("f", r.path("s")))
		set("s", unix.Timespec{Sec: 21}, unix.Timespec{Sec: 22})
		show("s")
		show("f")
		set("f", unix.Timespec{Nsec: unix.UTIME_NOW}, unix.Timespec{Sec: 5})
		var st unix.Stat_t
		r.must(unix.Lstat(r.path("f"), &st))
		r.note("atime is now: %v, mtime %v", st.Atim.Sec > 1e9, st.Mtim)
		r.changes("utimensat", func() { set("f", omit, unix.Timespec{Sec: 9}) }, "f", ".")
		r.changes("utimensat of nothing", func() { set("f", omit, omit) }, "f")
	}},
	{"touch sets one time", func(r *recorder) {
		// Once atime was read from another clock, or at another time, than the others.
		r.file("f", "x")
		r.must(unix.Mkdir(r.path("d"), 0o755))
		for _, name := range []string{"f", "d"} {
			differed := 0
			for range 1000 {
				r.must(unix.UtimesNanoAt(unix.AT_FDCWD, r.path(name), nil, 0))
				var st unix.Stat_t
				r.must(unix.Lstat(r.path(name), &st))
				if st.Atim != st.Mtim || st.Mtim != st.Ctim {
					differed++
				}
			}
			r.note("%s: %d times of 1000 not one", name, differed)
		}
	}},
	{"mtime after a write", func(r *recorder) {
		// A tool that writes, sets the times and closes (tar, cp -a) wants the times
		// that it set, though the pages are written back later.
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		_, err := unix.Write(fd, []byte("data"))
		r.must(err)
		old := []unix.Timespec{{Sec: 100}, {Sec: 200}}
		r.must(unix.UtimesNanoAt(unix.AT_FDCWD, r.path("f"), old, 0))
		r.must(unix.Fsync(fd))
		var st unix.Stat_t
		r.must(unix.Fstat(fd, &st))
		r.note("mtime %v", st.Mtim)
		r.changes("write", func() { _, _ = unix.Write(fd, []byte("x")) }, "f")
		r.changes("fsync", func() { r.must(unix.Fsync(fd)) }, "f")
		r.changes("empty write", func() { _, _ = unix.Write(fd, nil) }, "f")
		r.changes("truncate", func() { r.must(unix.Ftruncate(fd, 2)) }, "f")
		r.changes("truncate to the same", func() { r.must(unix.Ftruncate(fd, 2)) }, "f")
		r.changes("truncate by path", func() { r.must(unix.Truncate(r.path("f"), 1)) }, "f")
		r.changes("open O_TRUNC", func() { r.open("f", unix.O_TRUNC|unix.O_WRONLY, 0) }, "f", ".")
		r.changes("open O_TRUNC of empty", func() { r.open("f", unix.O_TRUNC|unix.O_WRONLY, 0) }, "f")
	}},
	{"statx", func(r *recorder) {
		before := clock(unix.CLOCK_REALTIME_COARSE)
		r.file("f", "12345")
		r.must(unix.Link(r.path("f"), r.path("g")))
		tick()
		r.must(unix.Chmod(r.path("f"), 0o600))
		var sx unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, r.path("g"), 0, unix.STATX_BASIC_STATS, &sx)
		r.do("statx", err)
		r.note("mode %o nlink %d size %d", sx.Mode, sx.Nlink, sx.Size)
		r.note("ctime is new: %v", sx.Ctime.Sec*1e9+int64(sx.Ctime.Nsec) > before)
		err = unix.Statx(unix.AT_FDCWD, r.path("f"), 0, unix.STATX_SIZE, &sx)
		r.do(fmt.Sprintf("statx size %d", sx.Size), err)
	}},
	{"xattr", xattrScenario},
	{"xattr limits", func(r *recorder) {
		r.file("f", "")
		f := r.path("f")
		r.do("64 KiB", unix.Setxattr(f, "user.big", make([]byte, 1<<16), 0))
		r.do("more", unix.Setxattr(f, "user.more", make([]byte, 1<<16+1), 0))
		buf := make([]byte, 1<<16)
		n, err := unix.Getxattr(f, "user.big", buf)
		r.do(fmt.Sprintf("get %d", n), err)
		_, err = unix.Getxattr(f, "user.big", buf[:1<<16-1])
		r.do("get into less", err)
		long := "user." + strings.Repeat("n", 250)
		r.do("long name", unix.Setxattr(f, long, []byte("v"), 0))
		r.do("longer name", unix.Setxattr(f, long+"n", []byte("v"), 0))
		r.must(unix.Symlink("f", r.path("s")))
		r.do("user on a symlink", unix.Lsetxattr(r.path("s"), "user.a", []byte("v"), 0))
		r.must(unix.Mkfifo(r.path("p"), 0o600))
		r.do("user on a fifo", unix.Lsetxattr(r.path("p"), "user.a", []byte("v"), 0))
		r.do("trusted", unix.Lsetxattr(r.path("s"), "trusted.a", []byte("v"), 0))
		r.do("no namespace", unix.Setxattr(f, "plain", []byte("v"), 0))
		r.do("unknown namespace", unix.Setxattr(f, "strange.a", []byte("v"), 0))
		_, err = unix.Getxattr(f, "strange.a", buf)
		r.do("get of it", err)
	}},
	{"statfs", func(r *recorder) {
		var st unix.Statfs_t
		r.do("statfs", unix.Statfs(r.dir, &st))
		r.note("bsize %d frsize %d namelen %d", st.Bsize, st.Frsize, st.Namelen)
		r.note("sane: %v %v", st.Bfree <= st.Blocks && st.Bavail <= st.Bfree && st.Blocks > 0, st.Ffree <= st.Files)
	}},
	{"ioctl", func(r *recorder) {
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		r.do("TCGETS", err)
	}},
}

func xattrScenario(r *recorder) {
	r.file("f", "x")
	f := r.path("f")
	buf := make([]byte, 100)
	get := func(name string, size int) {
		n, err := unix.Getxattr(f, name, buf[:size])
		r.do(fmt.Sprintf("get %s into %d: %d %q", name, size, n, buf[:max(0, min(n, size))]), err)
	}
	list := func(size int) {
		n, err := unix.Listxattr(f, buf[:size])
		names := strings.Split(strings.TrimRight(string(buf[:max(0, min(n, size))]), "\x00"), "\x00")
		sort.Strings(names)
		r.do(fmt.Sprintf("list into %d: %d %q", size, n, names), err)
	}
	list(100)
	get("user.none", 100)
	r.changes("setxattr", func() { r.must(unix.Setxattr(f, "user.a", []byte("value"), 0)) }, "f", ".")
	get("user.a", 100)
	get("user.a", 5)
	get("user.a", 4)
	get("user.a", 0)
	r.do("create", unix.Setxattr(f, "user.a", []byte("v2"), unix.XATTR_CREATE))
	r.do("replace", unix.Setxattr(f, "user.a", []byte("v3"), unix.XATTR_REPLACE))
	r.do("replace none", unix.Setxattr(f, "user.b", []byte("v"), unix.XATTR_REPLACE))
	r.do("create b", unix.Setxattr(f, "user.b", nil, unix.XATTR_CREATE))
	get("user.a", 100)
	get("user.b", 100)
	list(100)
	list(14)
	list(13)
	list(0)
	r.changes("removexattr", func() { r.must(unix.Removexattr(f, "user.a")) }, "f")
	r.do("remove none", unix.Removexattr(f, "user.a"))
	list(100)
	r.must(unix.Mkdir(r.path("d"), 0o755))
	r.do("directory", unix.Setxattr(r.path("d"), "user.d", []byte("v"), 0))
	r.do("trusted", unix.Setxattr(f, "trusted.t", []byte("v"), 0))
	list(100)
	get("trusted.t", 100)
	r.must(unix.Rename(f, r.path("g")))
	f = r.path("g")
	get("trusted.t", 100)
}
