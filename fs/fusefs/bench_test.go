package fusefs

import (
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// benchmarks are things to do n times in a fresh directory. They run in a mount and
// in a tmpfs, for the ratio between the two is what can be compared.
var benchmarks = []struct {
	name  string
	bytes int64 // of each
	run   func(b *testing.B, dir string)
}{
	{"create", 0, func(b *testing.B, dir string) {
		for i := range b.N {
			closing(b, opening(b, filepath.Join(dir, fmt.Sprint(i)), unix.O_CREAT|unix.O_WRONLY))
		}
	}},
	{"create and write 4 KiB", 4 * kib, func(b *testing.B, dir string) {
		page := make([]byte, 4*kib)
		for i := range b.N {
			fd := opening(b, filepath.Join(dir, fmt.Sprint(i)), unix.O_CREAT|unix.O_WRONLY)
			writing(b, fd, page, 0)
			closing(b, fd)
		}
	}},
	{"mkdir and rmdir", 0, func(b *testing.B, dir string) {
		for range b.N {
			failing(b, unix.Mkdir(filepath.Join(dir, "d"), 0o755))
			failing(b, unix.Rmdir(filepath.Join(dir, "d")))
		}
	}},
	{"stat", 0, func(b *testing.B, dir string) {
		statAll(b, dir, unix.AT_STATX_SYNC_AS_STAT)
	}},
	{"stat that asks the server", 0, func(b *testing.B, dir string) {
		statAll(b, dir, unix.AT_STATX_FORCE_SYNC)
	}},
	{"open and close", 0, func(b *testing.B, dir string) {
		path := filepath.Join(dir, "f")
		closing(b, opening(b, path, unix.O_CREAT|unix.O_WRONLY))
		for b.Loop() {
			closing(b, opening(b, path, unix.O_RDONLY))
		}
	}},
	{"write 4 KiB", 4 * kib, func(b *testing.B, dir string) { writeRound(b, dir, 4*kib) }},
	{"write 1 MiB", 1 << 20, func(b *testing.B, dir string) { writeRound(b, dir, 1<<20) }},
	{"read 1 MiB", 1 << 20, func(b *testing.B, dir string) { readRound(b, dir, 0) }},
	{"read 1 MiB that asks the server", 1 << 20, func(b *testing.B, dir string) { readRound(b, dir, unix.O_DIRECT) }},
	{"seek in a dirty file", 0, func(b *testing.B, dir string) {
		fd := opening(b, filepath.Join(dir, "f"), unix.O_CREAT|unix.O_RDWR)
		defer closing(b, fd)
		page := make([]byte, 64*kib)
		for i := range b.N {
			writing(b, fd, page, int64(i%1000)*64*kib)
			if _, err := unix.Seek(fd, 0, unix.SEEK_HOLE); err != nil {
				b.Fatal(err)
			}
		}
	}},
}

const round = 64 << 20 // bytes that the benchmarks of content go over again and again

func BenchmarkOperations(b *testing.B) {
	for _, bm := range benchmarks {
		b.Run(bm.name+"/mount", func(b *testing.B) {
			m := newMount(b, childConfig{})
			bdi := bdiAt(b, m.dir)
			bdi.FitDirty(0)
			bdi.ReadAhead()
			b.SetBytes(bm.bytes)
			b.ResetTimer()
			bm.run(b, m.dir)
		})
		b.Run(bm.name+"/tmpfs", func(b *testing.B) {
			dir := newTmpfs(b)
			b.SetBytes(bm.bytes)
			b.ResetTimer()
			bm.run(b, dir)
		})
	}
}

func statAll(b *testing.B, dir string, flags int) {
	path := filepath.Join(dir, "f")
	closing(b, opening(b, path, unix.O_CREAT|unix.O_WRONLY))
	var sx unix.Statx_t
	for b.Loop() {
		failing(b, unix.Statx(unix.AT_FDCWD, path, flags, unix.STATX_BASIC_STATS, &sx))
	}
}

func writeRound(b *testing.B, dir string, size int) {
	fd := opening(b, filepath.Join(dir, "f"), unix.O_CREAT|unix.O_WRONLY)
	buf := make([]byte, size)
	for i := range b.N {
		writing(b, fd, buf, int64(i*size%round))
	}
	closing(b, fd) // writes back the rest
}

func readRound(b *testing.B, dir string, flags int) {
	path := filepath.Join(dir, "f")
	fd := opening(b, path, unix.O_CREAT|unix.O_WRONLY)
	space := make([]byte, 1<<20+4*kib)
	buf := aligned(space)
	for off := int64(0); off < round; off += 1 << 20 {
		writing(b, fd, buf, off)
	}
	closing(b, fd)
	fd = opening(b, path, unix.O_RDONLY|flags)
	defer closing(b, fd)
	off := int64(0)
	for b.Loop() {
		if n, err := unix.Pread(fd, buf, off%round); n != len(buf) {
			b.Fatal(n, err)
		}
		off += 1 << 20
	}
}

func opening(b *testing.B, path string, flags int) int {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o644)
	failing(b, err)
	return fd
}

func writing(b *testing.B, fd int, p []byte, off int64) {
	if n, err := unix.Pwrite(fd, p, off); n != len(p) {
		b.Fatal(n, err)
	}
}

func closing(b *testing.B, fd int) { failing(b, unix.Close(fd)) }

func failing(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
