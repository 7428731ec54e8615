package fusefs

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

func isAligned(p *byte) bool { return uintptr(unsafe.Pointer(p))%4096 == 0 }

// user is an ordinary user.
const user = 1234

// suidFile makes a file of the user's with mode, a capability, and content.
func (r *recorder) suidFile(name string, mode uint32) {
	r.t.Helper()
	r.file(name, "0123456789")
	r.must(unix.Chown(r.path(name), user, user))
	r.must(unix.Chmod(r.path(name), mode))
	capability := []byte("\x00\x00\x00\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	r.must(unix.Setxattr(r.path(name), "security.capability", capability, 0))
}

// privs asks only for the mode: after a write the kernel remembers it, unless it was told
// to forget it.
func (r *recorder) privs(name string) {
	var st unix.Statx_t
	r.must(unix.Statx(unix.AT_FDCWD, r.path(name), 0, unix.STATX_MODE, &st))
	n, err := unix.Getxattr(r.path(name), "security.capability", nil)
	r.do(fmt.Sprintf("%s: mode %o, capability %d bytes", name, st.Mode, n), err)
}

// privScenarios are about what a write, a truncate or a chown takes away: suid,
// sgid and security.capability.
var privScenarios = []scenario{
	{"write by a user kills suid", func(r *recorder) {
		for _, mode := range []uint32{0o4755, 0o2755, 0o6777, 0o2744, 0o6744} {
			name := fmt.Sprintf("%o", mode)
			r.suidFile(name, mode)
			as(user, user, func() {
				fd := r.open(name, unix.O_WRONLY, 0)
				r.pwrite(fd, "x", 0)
			})
			r.privs(name)
		}
	}},
	{"write by root keeps suid", func(r *recorder) {
		r.suidFile("f", 0o6755)
		fd := r.open("f", unix.O_WRONLY, 0)
		r.pwrite(fd, "x", 0)
		r.must(unix.Fsync(fd))
		r.privs("f")
		r.must(unix.Ftruncate(fd, 3))
		r.privs("f")
	}},
	// To open a file takes nothing away.
	{"open and write where somebody has it open", func(r *recorder) {
		r.file("f", "0123456789")
		r.open("f", unix.O_RDWR, 0)
		r.suidFile("f", 0o6777)
		for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_APPEND} {
			r.changes("open by root", func() { r.open("f", flags, 0) }, "f")
			as(user, user, func() { r.open("f", flags, 0) })
			r.privs("f")
		}
		fd := r.open("f", unix.O_WRONLY, 0)
		r.pwrite(fd, "root", 0)
		r.privs("f")
		r.must(unix.Chmod(r.path("f"), 0o6777))
		as(user, user, func() {
			fd := r.open("f", unix.O_RDWR|unix.O_APPEND, 0)
			r.changes("write", func() { _, _ = unix.Write(fd, []byte("user")) }, "f")
			r.pread(fd, 20, 0)
		})
		r.privs("f")
		r.stat("f")
		r.pwrite(fd, "more", 20)
		r.content("f")
	}},
	{"map where somebody has it open", func(r *recorder) {
		r.file("f", "0123456789")
		other := r.open("f", unix.O_RDWR, 0)
		r.suidFile("f", 0o6777)
		as(user, user, func() {
			fd := r.open("f", unix.O_RDWR, 0)
			m, err := unix.Mmap(fd, 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			r.must(err)
			m[0] = 'x'
			r.pread(fd, 10, 0)
			r.pwrite(fd, "y", 1)
			r.pwrite(other, "z", 2)
			r.note("mapped: %q", m[:4])
			r.must(unix.Munmap(m))
		})
		r.content("f")
	}},
	{"truncate by a user kills suid", func(r *recorder) {
		for name, cut := range map[string]func(string) error{
			"truncate": func(p string) error { return unix.Truncate(p, 3) },
			"O_TRUNC": func(p string) error {
				fd, err := unix.Open(p, unix.O_WRONLY|unix.O_TRUNC, 0)
				if err == nil {
					err = unix.Close(fd)
				}
				return err
			},
		} {
			r.suidFile(name, 0o6777)
			as(user, user, func() { r.must(cut(r.path(name))) })
		}
		r.privs("truncate")
		r.privs("O_TRUNC")
	}},
	{"fallocate by a user", func(r *recorder) {
		r.suidFile("f", 0o6777)
		as(user, user, func() {
			fd := r.open("f", unix.O_WRONLY, 0)
			r.do("fallocate", unix.Fallocate(fd, 0, 0, 8192))
		})
		r.privs("f")
		r.suidFile("g", 0o6777)
		as(user, user, func() {
			fd := r.open("g", unix.O_WRONLY, 0)
			r.do("punch", unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 10))
		})
		r.privs("g")
	}},
	{"copy_file_range by a user", func(r *recorder) {
		r.file("src", "source")
		r.suidFile("f", 0o6777)
		as(user, user, func() {
			in, out := r.open("src", unix.O_RDONLY, 0), r.open("f", unix.O_WRONLY, 0)
			n, err := unix.CopyFileRange(in, nil, out, nil, 6, 0)
			r.do(fmt.Sprintf("copy %d", n), err)
		})
		r.privs("f")
	}},
	{"mmap by a user", func(r *recorder) {
		r.suidFile("f", 0o6777)
		as(user, user, func() {
			fd := r.open("f", unix.O_RDWR, 0)
			m, err := unix.Mmap(fd, 0, 10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			r.must(err)
			m[0] = 'x'
			r.must(unix.Munmap(m))
		})
		r.content("f")
	}},
	{"chown kills suid", func(r *recorder) {
		r.suidFile("f", 0o6755)
		r.must(unix.Chown(r.path("f"), user+1, -1))
		r.privs("f")
		r.suidFile("g", 0o2644)
		r.must(unix.Chown(r.path("g"), -1, user+1))
		r.privs("g")
		r.suidFile("h", 0o6755)
		as(user, user, func() { r.do("chown by the owner", unix.Chown(r.path("h"), -1, user)) })
		r.privs("h")
	}},
	{"chmod by a user", func(r *recorder) {
		r.file("f", "")
		r.must(unix.Chown(r.path("f"), user, user+1))
		as(user, user, func() { r.do("sgid of a foreign group", unix.Chmod(r.path("f"), 0o2755)) })
		r.stat("f")
		as(user+1, user, func() { r.do("of another's file", unix.Chmod(r.path("f"), 0o777)) })
	}},
	{"permissions", func(r *recorder) {
		r.must(unix.Mkdir(r.path("d"), 0o700))
		r.file("d/f", "")
		r.must(unix.Mkdir(r.path("t"), 0o777))
		r.must(unix.Chmod(r.path("t"), 0o1777))
		r.file("t/root", "")
		as(user, user, func() {
			_, err := unix.Open(r.path("d/f"), unix.O_RDONLY, 0)
			r.do("open", err)
			r.do("mkdir", unix.Mkdir(r.path("d/e"), 0o755))
			r.do("access", unix.Access(r.path("d"), unix.X_OK))
			r.do("unlink sticky", unix.Unlink(r.path("t/root")))
			r.do("rename sticky", unix.Rename(r.path("t/root"), r.path("t/x")))
			r.do("mkdir in t", unix.Mkdir(r.path("t/mine"), 0o755))
			r.stat("t/mine")
			r.do("chown", unix.Chown(r.path("t/mine"), 0, 0))
		})
	}},
}
