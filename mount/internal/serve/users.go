package serve

import (
	"log/slog"
	"time"

	"github.com/workdir/workdir/mount/internal/host"
)

// usersAfter is how long a close waits before it names the processes that it waits for.
const usersAfter = time.Second

// usersNote names the processes that delay a close, once for each close. It belongs to the
// mount's owner.
type usersNote struct {
	next time.Time // when to look for them; zero: they have been named
}

// noteUsers sends the names of the processes that a close waits for to the client's log, as
// soon as it has waited for usersAfter and find returns any. The barrier calls it whenever
// it has found the mount in use.
func (h *hosted) noteUsers(find func() []host.Process) {
	n := &h.users
	if n.next.IsZero() || time.Now().Before(n.next) {
		return
	}
	users := find()
	if len(users) == 0 {
		n.next = time.Now().Add(usersAfter)
		return
	}
	n.next = time.Time{}
	h.server.note(h.req.ID, slog.LevelWarn, h.dir+" is still in use by "+host.NameProcesses(users)+": waiting until they have ended")
}
