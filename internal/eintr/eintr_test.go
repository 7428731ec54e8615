package eintr_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/workdir/workdir/internal/eintr"
)

func TestRetry(t *testing.T) {
	for _, tc := range []struct {
		name        string
		interrupted int // how often the call is, before it returns end
		end, want   error
		calls       int
	}{
		{"never interrupted", 0, nil, nil, 1},
		{"interrupted twice", 2, nil, nil, 3},
		{"then fails", 1, syscall.ENOSPC, syscall.ENOSPC, 2},
		{"always interrupted", 1 << 20, nil, syscall.EINTR, 100},
	} {
		t.Run(tc.name, func(t *testing.T) {
			calls := 0
			err := eintr.Retry(func() error {
				if calls++; calls <= tc.interrupted {
					return syscall.EINTR
				}
				return tc.end
			})
			if err != tc.want || calls != tc.calls {
				t.Errorf("%v after %d calls; want %v after %d", err, calls, tc.want, tc.calls)
			}
		})
	}
	wrapped := 0
	err := eintr.Retry(func() error {
		if wrapped++; wrapped == 1 {
			return fmt.Errorf("open: %w", syscall.EINTR)
		}
		return nil
	})
	if err != nil || wrapped != 2 {
		t.Errorf("a wrapped EINTR: %v after %d calls", err, wrapped)
	}
}
