package mount

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// Work that could not be taken over from the overlay was saved in part, as if it were whole.
func TestWhatCannotBeTakenIsNotSaved(t *testing.T) {
	f := newFixture(t)
	f.archiveOf("k", "seq -f base%g 60 | xargs touch")
	before := f.bytes("k")
	m := f.openOverlay("k", Options{SaveFailed: f.url("saved")})
	// Longer than any path of an archive.
	shell(t, m, "seq -f new%g 90 | xargs touch; name=$(printf %0250d 1); for i in $(seq 17); do mkdir $name; cd -P $name; done")
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	res, err := m.Close(t.Context())
	if !errors.Is(err, ErrCommit) || !strings.Contains(err.Error(), "cannot be taken over") || res.Saved != "" {
		t.Errorf("close: %+v, %v", res, err)
	}
	if _, err := os.Lstat(f.archive("saved")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a part was saved: %v", err)
	}
	if string(f.bytes("k")) != string(before) {
		t.Error("the archive was changed")
	}
}
