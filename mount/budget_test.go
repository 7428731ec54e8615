package mount

import (
	"errors"
	"testing"
)

// What mounts have set aside is not there for others, until they are closed.
func TestBudget(t *testing.T) {
	b := &budget{total: 64 << 20}
	shared, err := b.sharedHome()
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	sharedSize := func(want int64) {
		t.Helper()
		if total, _, err := shared.StatFS(); total != want || err != nil {
			t.Errorf("the shared home has %d bytes, %v; want %d", total, err, want)
		}
	}
	own, err := b.ownHome(48 << 20)
	if err != nil {
		t.Fatal(err)
	}
	sharedSize(16 << 20)
	if _, err := b.ownHome(17 << 20); !errors.Is(err, ErrLimit) {
		t.Errorf("more than is left: %v, want ErrLimit", err)
	}
	f, err := shared.NewFile()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 8<<20), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ownHome(12 << 20); !errors.Is(err, ErrLimit) {
		t.Errorf("what others use: %v, want ErrLimit", err)
	}
	sharedSize(16 << 20)
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	sharedSize(64 << 20)
	if all, err := b.ownHome(56 << 20); err != nil {
		t.Error(err)
	} else if err := all.Close(); err != nil {
		t.Error(err)
	}
}
