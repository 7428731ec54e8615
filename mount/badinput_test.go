package mount

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

func TestBadMountpoints(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	file, full := filepath.Join(dir, "file"), filepath.Join(dir, "full")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(full, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	other := f.open("other", nil)
	if err := os.Mkdir(other.Path("inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, dir, want string }{
		{"missing", filepath.Join(dir, "missing"), "does not exist"},
		{"file", file, "not a directory"},
		{"not empty", full, "not empty"},
		{"mount already", other.Path(), "is a mount already"},
		{"inside a mount", other.Path("inside"), "inside the mounted workspace"},
		{"not ours", "/proc", "is a mount already"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := f.tryOpen("k", &Options{Dir: tt.dir})
			if !errors.Is(err, ErrCannotMount) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open = %v, want ErrCannotMount with %q", err, tt.want)
			}
		})
	}
	t.Run("store inside", func(t *testing.T) {
		_, err := Open(t.Context(), "file://"+other.Path("inside", "key"), &Options{RunDir: f.runDir})
		if !errors.Is(err, ErrCannotMount) {
			t.Errorf("Open = %v, want ErrCannotMount", err)
		}
	})
	t.Run("run directory that others may read", func(t *testing.T) {
		open := filepath.Join(dir, "open")
		if err := os.Mkdir(open, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := f.tryOpen("k", &Options{RunDir: open}); !errors.Is(err, ErrCannotMount) {
			t.Errorf("Open = %v, want ErrCannotMount", err)
		}
	})
}

func TestBadArchives(t *testing.T) {
	f := newFixture(t)
	good := f.commit("good", "name", strings.Repeat("content ", 1000))
	whole := f.bytes("good")
	tests := []struct {
		name string
		make func(path string) error
		want error
	}{
		{"truncated", func(p string) error { return os.WriteFile(p, whole[:good.Size/2], 0o644) }, archive.ErrFormat},
		{"empty file", func(p string) error { return os.WriteFile(p, nil, 0o644) }, archive.ErrFormat},
		{"text", func(p string) error { return os.WriteFile(p, []byte("hello"), 0o644) }, archive.ErrFormat},
		{"directory", func(p string) error { return os.Mkdir(p, 0o755) }, store.ErrNotArchive},
		{"fifo", func(p string) error { return unix.Mkfifo(p, 0o644) }, store.ErrNotArchive},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.make(f.archive(tt.name)); err != nil {
				t.Fatal(err)
			}
			if _, err := f.tryOpen(tt.name, nil); !errors.Is(err, tt.want) {
				t.Errorf("Open = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestMaxBytes(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{MaxBytes: 1 << 20})
	f.write(m, "small", "fits")
	big := make([]byte, 4<<20)
	for i := range big {
		big[i] = byte(i)
	}
	err := os.WriteFile(m.Path("big"), big, 0o644)
	if err == nil { // the writeback cache may learn it late
		var file *os.File
		if file, err = os.OpenFile(m.Path("big"), os.O_WRONLY, 0); err == nil {
			err = file.Sync()
			file.Close()
		}
	}
	if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EIO) {
		t.Errorf("write of 4 MiB into 1 MiB = %v, want ENOSPC", err)
	}
	// What was archived takes none of it, unless it has to be loaded.
	f.commit("big", "big", string(big))
	m = f.open("big", &Options{MaxBytes: 1 << 20})
	if got, err := os.ReadFile(m.Path("big")); err != nil || !bytes.Equal(got, big) {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	writeTar(t, filepath.Join(f.dir, "foreign.tar.gz"), "big", string(big))
	if _, err := f.tryOpen("foreign", &Options{MaxBytes: 1 << 20}); !errors.Is(err, ErrLimit) {
		t.Errorf("Open = %v, want ErrLimit", err)
	}
}
