package temporal

import (
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/client"
)

// A server with a database knows after its next start, at another port, what was
// there before; a database of one that was stopped by SIGTERM needs no repair.
func TestServerKeepsItsDatabase(t *testing.T) {
	dir := t.TempDir()
	db := filepath.Join(dir, "db")
	first, err := startServer(dir, "--db", db)
	noError(t, err)
	r, err := first.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "kept", TaskQueue: "nobody"}, "nothing")
	noError(t, err)
	noError(t, first.stop())

	second, err := startServer(dir, "--db", db)
	noError(t, err)
	d, err := second.client.DescribeWorkflow(t.Context(), "kept", "")
	noError(t, err)
	if got := d.RawResponse.GetWorkflowExecutionInfo().GetExecution().GetRunId(); got != r.GetRunID() {
		t.Errorf("run id = %q, want %q", got, r.GetRunID())
	}
	noError(t, second.stop())
	if left, _ := filepath.Glob(filepath.Join(dir, ".temporal-dev*")); len(left) > 0 { // fails on a bad pattern only
		t.Errorf("left beside the database: %q", left)
	}
}
