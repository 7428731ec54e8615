package temporal

import (
	"bytes"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
)

// The program "encoded" is "append" with a client that encodes payloads.
func init() {
	programs["encoded"] = func(w worker.Worker, c *config) {
		registerIn(w, "append", c.url("job"), appendLine, &wdactivity.Options{AutoCommit: true})
	}
	clientSetup["encoded"] = func(o *client.Options) {
		o.DataConverter = converter.NewCodecDataConverter(converter.GetDefaultDataConverter(),
			converter.NewZlibCodec(converter.ZlibCodecOptions{AlwaysEncode: true}))
	}
}

// Results are kept as the worker's client encodes payloads, and read again: the worker
// is killed after the commit.
func TestResultIsKeptAsTheClientEncodes(t *testing.T) {
	e := newEnv(t)
	w := e.newWorker(workerOptions{Program: "encoded"})
	awaitKill := w.killBeforeCompletion()
	r := startWorkflow(e, func(ctx workflow.Context) (int, error) {
		// This worker does not know the codec, and need not look.
		return 0, workflow.ExecuteActivity(e.activities(ctx), "append", "line").Get(ctx, nil)
	})
	awaitKill()
	noError(t, w.Start())
	_, err := r.result()
	noError(t, err)
	records := e.log("job")
	if len(records) != 1 || !bytes.Contains(records[0].Result, []byte("binary/zlib")) || bytes.Contains(records[0].Result, []byte("json/plain")) {
		t.Errorf("%d commits; the result is kept as %q, want it encoded", len(records), records[0].Result)
	}
}
