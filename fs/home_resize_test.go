package fs

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// A home can shrink down to what is in use, and grow again.
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

// Opening or closing a mount changes the limit of a home that others write to.
func TestResizeWhileItIsWrittenTo(t *testing.T) {
	const least = 4 << 20
	eachHome(t, least, func(t *testing.T, home Home) {
		var wg sync.WaitGroup
		for range 2 {
			f, err := home.NewFile()
			must(t, err)
			defer f.Close()
			wg.Go(func() {
				for i := range 200 {
					if _, err := f.WriteAt(pattern(16<<10, byte(i)), int64(i)*16<<10); err != nil && !errors.Is(err, syscall.ENOSPC) {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			for i := range 200 {
				if err := home.Resize(least << (i % 2)); err != nil && !errors.Is(err, syscall.ENOSPC) {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		if total, free, err := home.StatFS(); err != nil || free < 0 || free > total {
			t.Errorf("%d of %d bytes are free, %v", free, total, err)
		}
	})
}
