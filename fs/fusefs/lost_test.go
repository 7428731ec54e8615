package fusefs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What a full mount has lost of a file is not there to be read once the kernel has
// dropped its pages: neither by read(2), nor to fill up a page of which a byte is
// written, nor to be copied. It was zeros, and passed for what the tool had written: the
// loss had ended, or was in a copy that nobody knew of.
func TestLostBytesAreNotZeros(t *testing.T) {
	const limit, page = 4 << 20, blockSize
	m := newMount(t, childConfig{MaxBytes: limit, Quiet: true, Files: map[string]string{"f": "content", "most": "", "copy": ""}})
	most, err := os.OpenFile(filepath.Join(m.dir, "most"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer most.Close()
	if err := unix.Fallocate(int(most.Fd()), 0, 0, limit-2*page); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(m.dir, "f"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte("x"), 4*page), page); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("fsync says %v, want ENOSPC", err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	if err := most.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadAt(make([]byte, 10), 2*page); err == nil {
		t.Errorf("read(2) gives %d bytes of what is lost", n)
	}
	kept := make([]byte, len("content"))
	if _, err := f.ReadAt(kept, 0); err != nil || string(kept) != "content" {
		t.Errorf("what is not lost: %q, %v", kept, err)
	}
	to, err := os.OpenFile(filepath.Join(m.dir, "copy"), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	from, at := int64(page), int64(0)
	if n, err := unix.CopyFileRange(int(f.Fd()), &from, int(to.Fd()), &at, 4*page, 0); err == nil {
		t.Errorf("copy_file_range(2) copies %d bytes of what is lost", n)
	}
	if pos, err := unix.Seek(int(f.Fd()), page, unix.SEEK_DATA); err == nil || err == unix.ENXIO {
		t.Errorf("SEEK_DATA says %d, %v of what is lost", pos, err)
	}
	for off := int64(page + 10); off < 5*page; off += page {
		_, _ = f.WriteAt([]byte("y"), off)
	}
	_ = f.Sync()
	if got := m.ask("err").Err; got == "<nil>" {
		t.Errorf("the loss has ended with bytes that were never written again: f is %q …", m.ask("f").Bytes[page:page+20])
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("z"), 4*page), page); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := m.ask("err").Err; got != "<nil>" {
		t.Errorf("after all of it was written again: %s", got)
	}
}
