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
	m := f.openOverlay("k", Options{MaxBytes: 64 << 20, MaxInodes: 100, SaveFailed: f.url("saved")})
	shell(t, m, "seq -f new%g 90 | xargs touch")
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
