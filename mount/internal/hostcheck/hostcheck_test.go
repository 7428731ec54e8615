package hostcheck

import (
	"strings"
	"testing"

	"github.com/workdir/workdir/doctor"
)

func TestKernelCheck(t *testing.T) {
	tests := []struct {
		release string
		status  doctor.Status
		has     string
		fix     string
	}{
		{"6.18.1", doctor.OK, "has O_TMPFILE, birth times;", ""},
		{"6.5.0-45-generic", doctor.Warn, "but not birth times", "Linux 6.6"},
		{"6.1.0", doctor.Warn, "but not O_TMPFILE, birth times", "Linux 6.6"},
	}
	for _, tt := range tests {
		c := kernelCheck(tt.release)
		if c.Status != tt.status || !strings.Contains(c.Detail, tt.has) || !strings.Contains(c.Fix, tt.fix) {
			t.Errorf("%s: %+v", tt.release, c)
		}
	}
}
