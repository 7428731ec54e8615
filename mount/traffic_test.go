package mount

import (
	"testing"

	"github.com/workdir/workdir/store/storetest"
)

// In the client and in the server.
func init() { storetest.RegisterCounted("counted") }

func TestTraffic(t *testing.T) {
	f := newFixture(t)
	m, err := Open(t.Context(), "counted://bucket"+f.dir+"/key", &Options{RunDir: f.runDir})
	if err != nil {
		t.Fatal(err)
	}
	status, err := m.Status(t.Context())
	if err != nil || status.Traffic["get"].Count != 1 || status.Traffic["put"].Count != 0 {
		t.Errorf("the status has %v, %v", status.Traffic, err)
	}
	f.write(m, "file", "content")
	res := f.close(m, true)
	if put := res.Traffic["put"]; put.Count != 1 || put.Sent != res.Size || res.Size == 0 {
		t.Errorf("the result has %v, of an archive of %d bytes", res.Traffic, res.Size)
	}
	m = f.open("key", nil)
	status, err = m.Status(t.Context())
	if err != nil || status.Traffic != nil {
		t.Errorf("the status of a store without a network has %v, %v", status.Traffic, err)
	}
	if res := f.close(m, false); res.Traffic != nil {
		t.Errorf("its result has %v", res.Traffic)
	}
}
