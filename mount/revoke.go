package mount

import (
	"context"

	"github.com/workdir/workdir/mount/internal/wire"
)

// Revoke is for a caller that has lost the right to the workspace. The mount is abandoned;
// a commit that is under way is cancelled, unless its last request is on its way; and the
// mount becomes read-only for everything that reaches the server (EROFS). Pages that the
// kernel has not written back yet are lost. A plain directory stays as it is, and what is
// written to it is lost.
//
// Revoke unmounts nothing; Close does. It never waits for the server.
func (m *Mount) Revoke() {
	m.Abandon()
	m.revoked.Do(func() {
		// This is not a notification, which would be dropped if the server does not keep
		// up. The end of the connection ends the call.
		go func() { _ = m.session.conn.Call(context.Background(), wire.CallRevoke, wire.MountID{ID: m.id}, nil) }()
	})
}
