package mount

import (
	"context"

	"github.com/workdir/workdir/mount/internal/wire"
)

// Revoke is for one who has lost the right to the workspace: the mount is
// abandoned, a commit that is under way is cancelled, unless its last request is on
// its way, and from now on the mount is read-only for whatever reaches the server
// (EROFS). Pages that the kernel has yet to write back are lost. A plain directory
// stays as it is, and what is written to it is lost.
//
// Revoke unmounts nothing; Close does. It never waits for the server.
func (m *Mount) Revoke() {
	m.Abandon()
	m.revoked.Do(func() {
		// Not a notification, which would be dropped where the server does not keep up.
		// The end of the connection ends the call.
		go func() { _ = m.session.conn.Call(context.Background(), wire.CallRevoke, wire.MountID{ID: m.id}, nil) }()
	})
}
