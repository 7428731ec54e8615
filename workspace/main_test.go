package workspace_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/store"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := store.RemoveMem(); err != nil {
		code = 1
	}
	os.Exit(code)
}

// asNobody runs fn on a thread that has the file permissions of an ordinary user,
// where this process is root.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		fn()
		return
	}
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		_, _ = unix.SetfsgidRetGid(nobody)
		_, _ = unix.SetfsuidRetUid(nobody)
		fn()
	}()
	<-done
}

// openDirectory is a temporary directory that any user can use.
func openDirectory(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	noError(t, os.Chmod(filepath.Dir(root), 0o755))
	noError(t, os.Chmod(root, 0o777))
	return root
}
