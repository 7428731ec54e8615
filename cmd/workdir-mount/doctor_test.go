package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Wherever a signal finds doctor, nothing stays of its trial: no mount, no archive,
// no directory.
func TestDoctorInterrupted(t *testing.T) {
	for _, after := range []string{"host", "setuid root", "by the first mount", "a second commit waits for it", "in the place of none is refused", "one winner each", "as one archive", "as stored"} {
		t.Run("after "+after, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, "doctor", "store/job")
			tmp := filepath.Join(c.dir, "tmp")
			if err := os.Mkdir(tmp, 0o700); err != nil {
				t.Fatal(err)
			}
			c.cmd.Env = append(c.cmd.Env, "TMPDIR="+tmp)
			c.start()
			c.waitLine(after)
			c.signal(unix.SIGINT)
			if code := c.wait(); code != exitSignal+int(unix.SIGINT) && code != 0 { // it may have been done already
				t.Errorf("code %d; standard error:\n%s", code, &c.stderr)
			}
			for _, path := range []string{"store", "run", "tmp/*", "workdir-doctor-*"} {
				if left, _ := filepath.Glob(filepath.Join(c.dir, path)); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
			}
		})
	}
}
