package fusefs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// Bytes that a full mount has lost must not become readable once the kernel has dropped its
// pages: not by read(2), not when a page is filled because a byte of it is written, and not
// by a copy. They were zeros and passed for what the tool had written: the loss had ended,
// or was in a copy that nobody knew of.
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

// When the kernel has forgotten a file, it takes the size from us. A file that was cut by a
// loss looked whole, and so did a copy of it.
func TestLostBytesCountAsSize(t *testing.T) {
	h := testHandler(t, &Options{})
	s := h.server
	n, errno := h.tree.Mknod(h.tree.Root(), "f", unix.S_IFREG|0o644, 0, fs.Owner{})
	if errno == 0 {
		_, errno = h.tree.WriteAt(n, []byte("content"), 0, false)
	}
	if errno != 0 {
		t.Fatal(errno)
	}
	defer h.tree.Unref(n, 1)
	size := func() uint64 {
		t.Helper()
		var entry fuse.EntryOut
		var attr fuse.AttrOut
		if st := s.Lookup(nil, &fuse.InHeader{NodeId: 1}, "f", &entry); st != fuse.OK {
			t.Fatal(st)
		}
		defer s.Forget(entry.NodeId, 1)
		if st := s.GetAttr(nil, &fuse.GetAttrIn{InHeader: fuse.InHeader{NodeId: entry.NodeId}}, &attr); st != fuse.OK {
			t.Fatal(st)
		}
		if entry.Size != attr.Size {
			t.Errorf("LOOKUP says %d bytes, GETATTR %d", entry.Size, attr.Size)
		}
		return attr.Size
	}
	h.tree.Lose(n, 10, 20, unix.ENOSPC)
	if got := size(); got != 30 {
		t.Errorf("with 20 bytes at 10 lost it has %d bytes, want 30", got)
	}
	if _, errno := h.tree.SetAttr(n, &fs.SetAttr{Valid: fs.SetSize, Size: 7}); errno != 0 {
		t.Fatal(errno)
	}
	if got := size(); got != 7 {
		t.Errorf("when it was cut to 7 bytes it has %d", got)
	}
}
