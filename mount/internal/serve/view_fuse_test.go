package serve

import (
	"testing"
	"time"
)

// A process that is ending keeps umount(2) from succeeding for a moment, though it can no
// longer be found. That once counted as busy at once, with no users.
func TestBusyByNobody(t *testing.T) {
	v := &fuseView{h: &hosted{}, dev: "0:1048575"} // no such device
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
