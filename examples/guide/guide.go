// Package guide is the code of docs/temporal.md. Its tests run it, and are
// themselves an example: of unit tests for activities with workspaces.
package guide

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/mount"
)

// Order is what Build is asked for.
type Order struct {
	Customer, Target string
}

// Activities are ordinary activities.
type Activities struct{}

// Build runs make in its workspace, and has it stored if that succeeds.
func (a *Activities) Build(ctx context.Context, order Order) (string, error) {
	out, err := wdactivity.Command(ctx, "make", order.Target).Output()
	if err != nil {
		return "", err // nothing is stored
	}
	return string(out), wdactivity.Commit(ctx) // stored once the activity has returned
}

// ByCustomer are the rules of a worker: Build has a workspace for each customer.
func ByCustomer(store string) *wdactivity.PluginOptions {
	customer := wdactivity.Vars(func(order Order) map[string]string {
		return map[string]string{"customer": order.Customer}
	})
	return &wdactivity.PluginOptions{Rules: []wdactivity.Rule{
		{Activity: (*Activities).Build, URL: store + "/customers/{customer}", Options: wdactivity.Options{Vars: customer}},
	}}
}

// Run runs a worker.
func Run(store string) error {
	plugin, err := wdactivity.NewPlugin(ByCustomer(store))
	if err != nil {
		return err
	}
	c, err := client.Dial(client.Options{Plugins: []client.Plugin{plugin}}) // for all workers of the client
	if err != nil {
		return err
	}
	defer c.Close()
	w := worker.New(c, "builds", worker.Options{})
	w.RegisterWorkflow(Workflow)
	w.RegisterActivity(&Activities{})
	return w.Run(worker.InterruptCh())
}

// Publish copies what Build made to the workspace of what is published. Its
// settings come from a third one.
func Publish(ctx context.Context, store, customer string, opts wdactivity.Options) (string, error) {
	reading := opts
	reading.ReadOnly = true
	return wdactivity.Do(ctx, store+"/settings", &reading, func(ctx context.Context, settings *mount.Mount) (string, error) {
		return wdactivity.Do(ctx, store+"/customers/"+customer, &reading, func(ctx context.Context, from *mount.Mount) (string, error) {
			return wdactivity.Do(ctx, store+"/published", &opts, func(_ context.Context, to *mount.Mount) (string, error) {
				name, err := os.ReadFile(settings.Path("name"))
				if err != nil {
					return "", err
				}
				if err := copyFile(to.Path(string(name)), from.Path("out")); err != nil {
					return "", err
				}
				return string(name), to.Commit()
			})
		})
	})
}

// Ledger has two steps on one workspace, each with a commit and a result of its
// own: an attempt that finds the first one done goes on with the second.
func Ledger(ctx context.Context, url string, opts *wdactivity.Options) (string, error) {
	reserved, err := wdactivity.Do(ctx, url, opts, func(_ context.Context, ws *mount.Mount) (int, error) {
		if err := appendLine(ws.Path("ledger"), "reserved"); err != nil {
			return 0, err
		}
		return 7, ws.Commit()
	})
	if err != nil {
		return "", err
	}
	return wdactivity.Do(ctx, url, opts, func(_ context.Context, ws *mount.Mount) (string, error) {
		if err := appendLine(ws.Path("ledger"), fmt.Sprint("booked ", reserved)); err != nil {
			return "", err
		}
		return fmt.Sprint("booking ", reserved), ws.Commit()
	})
}

// Resize is an activity that knows nothing of workspaces but where its own is.
func Resize(ctx context.Context, factor int) error {
	if err := os.WriteFile(wdactivity.Path(ctx, "picture.txt"), fmt.Appendf(nil, "%d times as large\n", factor), 0o644); err != nil {
		return err
	}
	return wdactivity.Command(ctx, "gzip", "--keep", "--force", "picture.txt").Run()
}

// Config is how an operator says which activities have which workspaces.
const Config = `{
	"rules": [
		{"activity": "Resize", "url": "STORE/{workflow_id}", "autoCommit": true, "workspaces": [
			{"name": "fonts", "url": "STORE/fonts", "readOnly": true}
		]},
		{"activity": "Report*", "url": "STORE/{workflow_id}", "readOnly": true}
	]
}`

// Plugin returns the plugin of a configuration, which gives activities their workspaces.
func Plugin(config []byte) (*temporal.SimplePlugin, error) {
	var opts wdactivity.PluginOptions
	if err := json.Unmarshal(config, &opts); err != nil {
		return nil, err
	}
	return wdactivity.NewPlugin(&opts)
}

// Long works in parts, and reports how far it is. Each part is a step: the next
// attempt passes by those that are in the store.
func Long(ctx context.Context, url string, opts *wdactivity.Options, parts int) (int, error) {
	for part := range parts {
		_, err := wdactivity.Do(ctx, url, opts, func(ctx context.Context, ws *mount.Mount) (int, error) {
			activity.RecordHeartbeat(ctx, part)
			if err := appendLine(ws.Path("parts"), fmt.Sprint(part)); err != nil {
				return 0, err
			}
			return part, ws.Commit()
		})
		if err != nil {
			return part, err
		}
	}
	return parts, nil
}

// NewWorker starts no activity that it cannot finish: on SIGTERM it gives them
// time to return and to store.
func NewWorker(c client.Client, queue string) worker.Worker {
	return worker.New(c, queue, worker.Options{WorkerStopTimeout: 2 * time.Minute})
}

// Encrypting are options for a client that encrypts payloads: by the plugin the results
// that its workers keep in archives are encrypted likewise.
func Encrypting(codec converter.PayloadCodec) (client.Options, error) {
	plugin, err := wdactivity.NewPlugin(nil)
	return client.Options{
		DataConverter: converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), codec),
		Plugins:       []client.Plugin{plugin},
	}, err
}

// Kept are the options of a workspace whose past stays, and whose failed work does.
func Kept(store string) wdactivity.Options {
	return wdactivity.Options{
		Keep:       wdactivity.Keep{Last: 20, For: wdactivity.Duration(30 * 24 * time.Hour)},
		SaveFailed: store + "/failed/{workflow_id}/{activity_id}-{attempt}",
	}
}

// Rewinding are the options of a workspace that goes back when its workflow is reset.
func Rewinding() wdactivity.Options {
	return wdactivity.Options{
		Rewind: true,
		Keep:   wdactivity.Keep{For: wdactivity.Duration(90 * 24 * time.Hour)}, // workflows are reset within that time
	}
}

// Workflow calls Build, and says what is not worth another attempt.
func Workflow(ctx workflow.Context, order Order) (out string, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Hour,
		HeartbeatTimeout:    30 * time.Second, // how soon a lost worker is noticed
		RetryPolicy:         &temporal.RetryPolicy{NonRetryableErrorTypes: []string{errtype.Host}},
	})
	var a *Activities
	err = workflow.ExecuteActivity(ctx, a.Build, order).Get(ctx, &out)
	return out, err
}

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, line)
	return err
}

func copyFile(to, from string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(to), b, 0o644)
}
