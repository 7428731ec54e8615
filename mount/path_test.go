package mount

import (
	"path/filepath"
	"testing"

	"github.com/workdir/workdir/mount/internal/host"
)

func TestWhatTheKernelSaysOfAPath(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	f.write(m, "file", "content")
	tests := []struct {
		name, path           string
		noMountpoint, onFUSE bool
	}{
		{"directory", f.dir, true, false},
		{"mountpoint", m.Path(), false, true},
		{"in a mount", m.Path("file"), true, true},
		{"another file system's", "/proc", false, false},
		{"nothing", filepath.Join(f.dir, "none"), false, true}, // who does not know must look at the table
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := host.IsNoMountpoint(tt.path); got != tt.noMountpoint {
				t.Errorf("isNoMountpoint(%s) = %v", tt.path, got)
			}
			if got := host.MayBeOurs(tt.path); got != tt.onFUSE {
				t.Errorf("isOnFUSE(%s) = %v", tt.path, got)
			}
		})
	}
}
