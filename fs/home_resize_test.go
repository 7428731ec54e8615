package fs

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// A home can be made smaller down to what is in use, and larger again.
func TestResize(t *testing.T) {
	for name, newHome := range map[string]func() (Home, error){
		"tmpfs": func() (Home, error) { return NewTmpfsHome(8<<20, 0) },
		"arena": func() (Home, error) { return NewArenaHome(8 << 20) },
	} {
		t.Run(name, func(t *testing.T) {
			home, err := newHome()
			if err != nil {
				t.Fatal(err)
			}
			defer home.Close()
			f, err := home.NewFile()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteAt([]byte(strings.Repeat("x", 4<<20)), 0); err != nil {
				t.Fatal(err)
			}
			for _, step := range []struct {
				size, total, free int64
				err               error
			}{
				{2 << 20, 8 << 20, 4 << 20, syscall.ENOSPC},
				{5 << 20, 5 << 20, 1 << 20, nil},
				{16 << 20, 16 << 20, 12 << 20, nil},
			} {
				if err := home.Resize(step.size); !errors.Is(err, step.err) {
					t.Errorf("Resize(%d) = %v, want %v", step.size, err, step.err)
				}
				total, free, err := home.StatFS()
				if total != step.total || free != step.free || err != nil {
					t.Errorf("after Resize(%d): %d of %d free, %v; want %d of %d", step.size, free, total, err, step.free, step.total)
				}
			}
		})
	}
}
