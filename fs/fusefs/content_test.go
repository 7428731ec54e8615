package fusefs

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// extents notes the data and holes of fd as lseek(2) finds them.
func (r *recorder) extents(what string, fd int) {
	var found []string
	for off := int64(0); ; {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if err != nil {
			r.do(fmt.Sprintf("%s: extents %v", what, found), err) // ENXIO: no more
			return
		}
		hole, err := unix.Seek(fd, data, unix.SEEK_HOLE)
		if err != nil || hole <= data {
			r.do(fmt.Sprintf("%s: no hole after %d: %d", what, data, hole), err)
			return
		}
		found = append(found, fmt.Sprintf("%d-%d", data, hole))
		off = hole
	}
}

func (r *recorder) pwrite(fd int, content string, off int64) {
	n, err := unix.Pwrite(fd, []byte(content), off)
	r.do(fmt.Sprintf("pwrite %d at %d: %d", len(content), off, n), err)
}

func (r *recorder) pread(fd, size int, off int64) {
	buf := make([]byte, size)
	n, err := unix.Pread(fd, buf, off)
	r.do(fmt.Sprintf("pread %d at %d: %d %.40q", size, off, n, buf[:max(n, 0)]), err)
}

const kib = 1 << 10

var contentScenarios = []scenario{
	{"open flags", func(r *recorder) {
		open := func(name string, flags int) {
			fd, err := unix.Open(r.path(name), flags|unix.O_CLOEXEC, 0o644)
			r.do(fmt.Sprintf("open %s %#o", name, flags), err)
			if err == nil {
				r.must(unix.Close(fd))
			}
		}
		r.must(unix.Mkdir(r.path("d"), 0o755))
		r.file("f", "content")
		open("none", unix.O_RDONLY)
		open("f", unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY)
		open("f", unix.O_CREAT|unix.O_WRONLY)
		r.content("f")
		open("f", unix.O_RDONLY|unix.O_DIRECTORY)
		open("d", unix.O_WRONLY)
		open("d", unix.O_RDONLY|unix.O_DIRECTORY)
		open("d/", unix.O_CREAT|unix.O_WRONLY)
		open("f", unix.O_WRONLY|unix.O_TRUNC)
		r.stat("f")
		r.content("f")
		open("f/x", unix.O_RDONLY)
		open("new", unix.O_CREAT|unix.O_TRUNC|unix.O_EXCL|unix.O_RDWR)
		open("f", unix.O_PATH)
		open("f", unix.O_RDWR|unix.O_DIRECT)
		open("f", unix.O_RDWR|unix.O_SYNC)
	}},
	{"O_TRUNC again and again", func(r *recorder) {
		for i := range 5 {
			fd := r.open("f", unix.O_CREAT|unix.O_TRUNC|unix.O_RDWR, 0o644)
			r.fstat(fd)
			r.pwrite(fd, fmt.Sprintf("round %d", i), 0)
			r.content("f")
		}
	}},
	{"read and write", func(r *recorder) {
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		r.pwrite(fd, "hello", 0)
		r.pwrite(fd, "world", 10)
		r.pread(fd, 100, 0)
		r.pread(fd, 100, 15)
		r.pread(fd, 100, 1000)
		r.pwrite(fd, "", 500)
		r.fstat(fd)
		r.pwrite(fd, "far", 1<<40)
		r.fstat(fd)
		r.pread(fd, 9, 1<<40-5)
		r.must(unix.Ftruncate(fd, 12))
		r.pread(fd, 100, 0)
		r.must(unix.Ftruncate(fd, 20))
		r.pread(fd, 100, 0)
		r.pwrite(fd, "x", -1)
		r.do("truncate below zero", unix.Ftruncate(fd, -1))
		ro := r.open("f", unix.O_RDONLY, 0)
		r.pwrite(ro, "x", 0)
		wo := r.open("f", unix.O_WRONLY, 0)
		r.pread(wo, 1, 0)
		r.pwrite(wo, "W", 1) // the kernel must read the page to change a part of it
		r.pread(ro, 100, 0)
		r.do("truncate none", unix.Truncate(r.path("none"), 1))
		r.do("truncate directory", unix.Truncate(r.path("."), 1))
	}},
	{"append", func(r *recorder) {
		a := r.open("f", unix.O_CREAT|unix.O_WRONLY|unix.O_APPEND, 0o644)
		b := r.open("f", unix.O_WRONLY|unix.O_APPEND, 0)
		for i := range 5 {
			_, err := unix.Write(a, fmt.Appendf(nil, "a%d ", i))
			r.must(err)
			_, err = unix.Write(b, fmt.Appendf(nil, "b%d ", i))
			r.must(err)
		}
		r.content("f")
		r.must(unix.Ftruncate(a, 3))
		_, err := unix.Write(b, []byte("end"))
		r.must(err)
		r.content("f")
	}},
	{"unlinked but open", func(r *recorder) {
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		r.pwrite(fd, "still", 0)
		r.must(unix.Unlink(r.path("f")))
		r.fstat(fd)
		r.pread(fd, 10, 0)
		r.pwrite(fd, " here", 5)
		r.must(unix.Fsync(fd))
		r.pread(fd, 20, 0)
		r.must(unix.Fchmod(fd, 0o600))
		r.must(unix.Ftruncate(fd, 7))
		r.fstat(fd)
		r.file("f", "another")
		r.pread(fd, 20, 0)
		r.content("f")
	}},
	{"large file", func(r *recorder) {
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		chunk := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		for i := range 8 {
			chunk[0] = byte('A' + i)
			n, err := unix.Write(fd, chunk)
			r.do(fmt.Sprintf("write %d", n), err)
		}
		r.must(unix.Fsync(fd))
		for i := range 8 {
			r.pread(fd, 10, int64(i)<<20)
		}
		direct := r.open("f", unix.O_RDONLY|unix.O_DIRECT, 0)
		buf := make([]byte, 1<<20+4096)
		n, err := unix.Pread(direct, aligned(buf), 3<<20)
		r.do(fmt.Sprintf("direct read %d %q", n, aligned(buf)[:4]), err)
		r.must(unix.Close(fd))
		r.atEnd = r.atEnd[1:]
		r.blocks("f")
	}},
	{"extents of a closed file", func(r *recorder) {
		r.file("f", "")
		fd := r.open("f", unix.O_RDWR, 0)
		r.extents("empty", fd)
		r.must(unix.Ftruncate(fd, 100*kib))
		r.pwrite(fd, "middle", 32*kib)
		r.pwrite(fd, "later", 64*kib)
		r.must(unix.Fsync(fd))
		r.extents("sparse", fd)
		_, err := unix.Seek(fd, 100*kib, unix.SEEK_DATA)
		r.do("data at the end", err)
		_, err = unix.Seek(fd, 100*kib, unix.SEEK_HOLE)
		r.do("hole at the end", err)
		off, err := unix.Seek(fd, 99*kib, unix.SEEK_HOLE)
		r.do(fmt.Sprintf("hole in the last hole %d", off), err)
		_, err = unix.Seek(fd, -1, unix.SEEK_DATA)
		r.do("data below zero", err)
		off, err = unix.Seek(fd, -10, unix.SEEK_END)
		r.do(fmt.Sprintf("end %d", off), err)
		_, err = unix.Seek(fd, -1, unix.SEEK_SET)
		r.do("set below zero", err)
	}},
	{"extents of a file that is being written", func(r *recorder) {
		// cp and tar ask where the data are, even while another process writes. A server
		// without the kernel's dirty pages would report a hole there.
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		r.pwrite(fd, "begin", 0)
		r.extents("first", fd)
		r.pwrite(fd, "more", 64*kib)
		r.extents("second", fd)
		other := r.open("f", unix.O_RDONLY, 0)
		r.pwrite(fd, "third", 32*kib)
		r.extents("by another", other)
	}},
	{"fallocate", func(r *recorder) {
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		alloc := func(mode uint32, off, length int64) {
			r.do(fmt.Sprintf("fallocate %#x %d %d", mode, off, length), unix.Fallocate(fd, mode, off, length))
			r.fstat(fd)
		}
		alloc(0, 0, 10*kib)
		alloc(unix.FALLOC_FL_KEEP_SIZE, 0, 100*kib)
		r.pwrite(fd, string(bytes.Repeat([]byte("x"), 40*kib)), 0)
		alloc(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 4*kib, 8*kib)
		r.pread(fd, 8, 4*kib-4)
		r.pread(fd, 8, 12*kib-4)
		alloc(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 5, 10)
		r.pread(fd, 30, 0)
		alloc(unix.FALLOC_FL_PUNCH_HOLE, 0, 10)
		alloc(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 200*kib, 8*kib)
		alloc(unix.FALLOC_FL_COLLAPSE_RANGE, 0, 4*kib)
		alloc(0, -1, 10)
		alloc(0, 0, 0)
		alloc(0, 0, -5)
		alloc(0, 300*kib, 1)
		r.changes("fallocate", func() { r.must(unix.Fallocate(fd, 0, 400*kib, 1)) }, "f")
		r.changes("punch", func() {
			r.must(unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4*kib))
		}, "f")
		ro := r.open("f", unix.O_RDONLY, 0)
		r.do("read-only", unix.Fallocate(ro, 0, 0, 10))
	}},
	{"copy_file_range", func(r *recorder) {
		src := r.open("src", unix.O_CREAT|unix.O_RDWR, 0o644)
		dst := r.open("dst", unix.O_CREAT|unix.O_RDWR, 0o644)
		copyRange := func(in int, off int64, out int, at int64, length int) {
			a, b := off, at
			n, err := unix.CopyFileRange(in, &off, out, &at, length, 0)
			r.do(fmt.Sprintf("copy %d bytes from %d to %d: %d", length, a, b, n), err)
		}
		r.pwrite(src, "the quick brown fox", 0) // dirty pages
		copyRange(src, 4, dst, 0, 5)
		r.content("dst")
		r.pwrite(dst, "Q", 0)
		copyRange(src, 0, dst, 5, 100)
		r.content("dst")
		copyRange(src, 100, dst, 0, 100)
		copyRange(src, 0, src, 2, 5)
		copyRange(src, 0, src, 30, 10)
		r.content("src")
		r.fstat(src)
		r.changes("copy", func() { copyRange(src, 0, dst, 0, 3) }, "src", "dst")
		r.pwrite(src, "z", 0)
		copyRange(src, 0, dst, 0, 1)
		r.content("dst")
	}},
	{"mmap", func(r *recorder) {
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		r.must(unix.Ftruncate(fd, 8*kib))
		m, err := unix.Mmap(fd, 0, 8*kib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		r.do("mmap", err)
		if err != nil {
			return
		}
		r.changes("store", func() {
			copy(m, "mapped")
			r.must(unix.Msync(m, unix.MS_SYNC))
		}, "f")
		r.pread(fd, 6, 0)
		r.pwrite(fd, "written", 4*kib)
		r.note("mapped %q", m[4*kib:4*kib+7])
		copy(m[6:], " again")
		r.content("f") // 8 KiB: only the beginning is noted
		r.must(unix.Munmap(m))
		r.must(unix.Fsync(fd))
		r.pread(fd, 12, 0)
	}},
	{"locks", func(r *recorder) {
		a := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		b := r.open("f", unix.O_RDWR, 0)
		r.do("flock a", unix.Flock(a, unix.LOCK_EX|unix.LOCK_NB))
		r.do("flock b", unix.Flock(b, unix.LOCK_EX|unix.LOCK_NB))
		r.do("unlock a", unix.Flock(a, unix.LOCK_UN))
		r.do("flock b", unix.Flock(b, unix.LOCK_SH|unix.LOCK_NB))
		lk := unix.Flock_t{Type: unix.F_WRLCK, Len: 10}
		r.do("ofd a", unix.FcntlFlock(uintptr(a), unix.F_OFD_SETLK, &lk))
		r.do("ofd b", unix.FcntlFlock(uintptr(b), unix.F_OFD_SETLK, &lk))
		lk.Start = 10
		r.do("ofd b elsewhere", unix.FcntlFlock(uintptr(b), unix.F_OFD_SETLK, &lk))
	}},
	{"sync", func(r *recorder) {
		fd := r.open("f", unix.O_CREAT|unix.O_RDWR, 0o644)
		r.pwrite(fd, "x", 0)
		r.do("fsync", unix.Fsync(fd))
		r.do("fsync again", unix.Fsync(fd))
		r.do("fdatasync", unix.Fdatasync(fd))
		r.do("syncfs", unix.Syncfs(fd))
		dir := r.open(".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		r.do("fsync directory", unix.Fsync(dir))
		r.do("sync_file_range", unix.SyncFileRange(fd, 0, 1, 7))
	}},
}

// aligned is the 1 MiB of buf that O_DIRECT can read into.
func aligned(buf []byte) []byte {
	off := 0
	for ; !isAligned(&buf[off]); off++ {
	}
	return buf[off : off+1<<20]
}
