package host

import (
	"path/filepath"
	"testing"

	"github.com/workdir/workdir/internal/testenv"
)

// A process that clears away takes the locks of other sessions for a moment, to see whether
// they are alive. A session that was being made then failed.
func TestSessionIsMadeWhileOthersLook(t *testing.T) {
	runDir, err := EnsureRunDir(filepath.Join(t.TempDir(), "run"))
	if err != nil {
		t.Fatal(err)
	}
	stop := testenv.OverAndOver(func() {
		for _, dir := range SessionDirs(runDir) {
			isDeadSession(dir)
		}
	})
	for range 500 {
		dir, lock, err := NewSession(t.Context(), runDir)
		if err != nil {
			t.Error(err)
			break
		}
		RemoveSession(dir)
		lock.Close()
	}
	stop()
}
