package mount

import (
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/overlay"
)

// deaden makes tools in a mount whose server is gone get ENOTCONN. In an overlay they would
// otherwise go on working on what they have written, which nobody would store.
func (s *session) deaden(m *Mount) {
	path := host.RecordPath(s.dir, m.id)
	r := host.ReadRecord(path)
	if !r.Overlay || r.Dev == "" || host.DeviceAt(m.path) != r.Dev {
		return
	}
	fuse, err := host.OpenFuse(m.path)
	if err == nil {
		r.Dev, err = overlay.ReplaceByDead(m.path, fuse, mountpointName(m.url), host.Subtype)
	}
	if err == nil {
		r.Overlay = false
		err = host.WriteRecordFile(path, r)
		m.mu.Lock()
		m.record = r
		m.mu.Unlock()
	}
	if err != nil {
		m.callbacks.run(func() {
			m.logger().Warn("the mount's server is gone, and tools may not see that", "path", m.path, "error", err)
		})
	}
}
