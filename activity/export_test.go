package activity

import (
	"context"

	"go.temporal.io/sdk/client"
)

// SetServer puts another server in the place of the one that the fence asks, and
// gives a function that puts the old one back.
func SetServer(ask func(context.Context, client.RecordActivityHeartbeatOptions) error) (restore func()) {
	old := askServer
	askServer = func(ctx context.Context, _ *visit, o client.RecordActivityHeartbeatOptions) error { return ask(ctx, o) }
	return func() { askServer = old }
}
