package mount

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/serve"
	"github.com/workdir/workdir/mount/internal/wire"
)

// add registers the mount with the session, by its number.
func (s *session) add(m *Mount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mounts[m.id] = m
}

// publish makes a mount, which is mounted now, visible to the commands of other processes.
func (s *session) publish(m *Mount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m.ready = true
}

// drop forgets a mount that is over.
func (s *session) drop(m *Mount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mounts, m.id)
}

// newID returns the number of a new mount.
func (s *session) newID() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nextID++
	return s.nextID
}

func (s *session) openMounts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mounts)
}

// find returns the mount that a call of the server concerns. ErrClosed.
func (s *session) find(body json.RawMessage) (*Mount, error) {
	id, err := wire.Decode[wire.MountID](body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.mounts[id.ID]; m != nil {
		return m, nil
	}
	return nil, ErrClosed
}

// clear clears a dead mount away, and the session with the last of its mounts. Only the
// caller may be closing m.
func (s *session) clear(m *Mount) {
	if !s.isDead(m) {
		return
	}
	r := host.ReadRecord(host.RecordPath(s.dir, m.id))
	if r.Path == "" {
		r.Path = ipc.Path(m.path)
	}
	serve.ClearMount(r)
	os.Remove(host.RecordPath(s.dir, m.id))
	s.mu.Lock()
	delete(s.dead, m.id)
	last := len(s.dead) == 0
	s.mu.Unlock()
	if last {
		s.remove()
	}
}

func (s *session) isDead(m *Mount) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead[m.id] != nil
}

// paths returns the mountpoints of this session.
func (s *session) paths() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]bool, len(s.mounts)+len(s.dead))
	for _, mounts := range []map[uint64]*Mount{s.mounts, s.dead} {
		for _, m := range mounts {
			all[m.path] = true
		}
	}
	return all
}

// byIdentity returns the mount that a command names.
func (s *session) byIdentity(req remoteRequest) (*Mount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.mounts[req.ID]
	if m == nil {
		m = s.dead[req.ID]
	}
	if m != nil && m.isThere() && req.Mount != "" && m.identity() == req.Mount {
		return m, nil
	}
	return nil, fmt.Errorf("%s: %w", req.Path, ErrNotMounted)
}

// identity returns the identity of the mount's record.
func (m *Mount) identity() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record.Identity()
}

// isThere reports whether commands may find the mount.
// Preconditions: session.mu is held.
func (m *Mount) isThere() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ready && !m.unmounted
}

// all returns the mounts that commands may find, including dead ones.
func (s *session) all() []*Mount {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Mount, 0, len(s.mounts)+len(s.dead))
	for _, mounts := range []map[uint64]*Mount{s.mounts, s.dead} {
		for _, m := range mounts {
			if m.isThere() {
				all = append(all, m)
			}
		}
	}
	return all
}
