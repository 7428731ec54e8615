package serve

import (
	"testing"
	"time"
)

// Who is ending is in the way of umount(2) for a moment though not to be found any
// more. Once that was busy at once, by nobody.
func TestBusyByNobody(t *testing.T) {
	v := &fuseView{h: &hosted{}, dev: "0:1048575"} // there is none
	for _, tt := range []struct {
		name string
		late time.Duration // after the deadline
		busy bool
	}{
		{"there is time", -time.Minute, false},
		{"just over", 0, false},
		{"long over", unseenPatience, true},
	} {
		if err := v.busy(time.Now().Add(-tt.late)); (err != nil) != tt.busy {
			t.Errorf("%s: %v, want busy: %v", tt.name, err, tt.busy)
		}
	}
}
