package serve

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/mount/internal/host"
)

// The path was checked and then opened again, so that the owner of a parent directory could
// have the content of another directory removed.
func TestClearPlainStaysInItsDirectory(t *testing.T) {
	top := t.TempDir()
	mine, other := filepath.Join(top, "mine"), filepath.Join(top, "other")
	dir, kept := filepath.Join(mine, "ws"), filepath.Join("ws", "kept")
	for _, d := range []string{dir, filepath.Join(other, "ws")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(other, kept), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := host.DirIDOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	stop := testenv.OverAndOver(func() {
		_ = unix.Renameat2(unix.AT_FDCWD, mine, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
	})
	for range 500 {
		_ = clearPlain(dir, false, id) // refused if it is the other one
	}
	stop()
	for _, d := range []string{mine, other} {
		if _, err := os.Stat(filepath.Join(d, kept)); err == nil {
			return
		}
	}
	t.Error("the content of another directory was removed")
}
