package activity

import (
	"context"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/workdir/workdir/store"
)

// SetServer puts another server in the place of the one that the fence asks, and
// gives a function that puts the old one back.
func SetServer(ask func(context.Context, client.RecordActivityHeartbeatOptions) error) (restore func()) {
	old := askServer
	askServer = func(ctx context.Context, _ *visit, o client.RecordActivityHeartbeatOptions) error { return ask(ctx, o) }
	return func() { askServer = old }
}

// HistoryRequest and HistoryResponse are of a page of a workflow's history.
type (
	HistoryRequest  = workflowservice.GetWorkflowExecutionHistoryRequest
	HistoryResponse = workflowservice.GetWorkflowExecutionHistoryResponse
)

// SetHistory puts another server in the place of the one that is asked for histories, and
// returns a function that puts the old one back.
func SetHistory(ask func(context.Context, *HistoryRequest) (*HistoryResponse, error)) (restore func()) {
	old := askForHistory
	askForHistory = func(ctx context.Context, _ *visit, req *HistoryRequest) (*HistoryResponse, error) {
		return ask(ctx, req)
	}
	return func() { askForHistory = old }
}

// Pasts is what a worker remembers of runs.
type Pasts struct{ pasts }

func (p *Pasts) Add(run string, past *store.Past)          { p.add(run, past) }
func (p *Pasts) Of(run string) (past *store.Past, ok bool) { return p.of(run) }
func (p *Pasts) Len() int                                  { return len(p.known) }

// MaxPasts bounds what is remembered.
const MaxPasts = maxPasts
