package mount

import (
	"os"
	"testing"
)

// dropCaches makes the kernel forget everything it can of files that nobody has open, as it
// does when memory is short.
func dropCaches(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
}

// A file of the archive that was changed vanished from listings, and stat(2) said ESTALE,
// once the kernel had forgotten the lower layer's inode of it.
func TestOverlayOfForgottenInodes(t *testing.T) {
	f := newFixture(t)
	f.archiveOf("k", "mkdir d; for i in $(seq 20); do echo $i >d/$i; done")
	m := f.openOverlay("k", Options{})
	shell(t, m, "for i in $(seq 20); do echo more >>d/$i; done; mv d/20 moved; chmod 600 d/19")
	// Each file is looked up by its name, then found among the cached ones.
	const look = `for i in $(seq 19); do stat -c %s d/$i; done; [ $(ls d | wc -l) = 19 ]; stat -c '%n %s %a' d/* moved; cat d/* moved | md5sum`
	want := printed(t, m, look)
	for range 2 {
		dropCaches(t)
		if got := printed(t, m, look); got != want {
			t.Fatalf("then:\n%s\nbefore:\n%s", got, want)
		}
	}
	f.close(m, true)
	if got := f.output("k", look); got != want {
		t.Errorf("stored:\n%s\nwant:\n%s", got, want)
	}
}
