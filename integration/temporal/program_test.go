package temporal

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
	_ "github.com/workdir/workdir/store/drivers/s3" // a store of the tests
)

// A program says what a worker process can do: it registers activities (and
// workflows, if config.Workflows) with w before w starts.
type program func(w worker.Worker, c *config)

// programs are all of them, by name. Each test file adds its own in an init
// function; it must not replace another file's.
var programs = map[string]program{}

// pluginSetup changes the options of the plugin that every worker has, by the name of
// the program.
var pluginSetup = map[string]func(o *wdactivity.PluginOptions, c *config){}

// clientSetup changes the options of the clients of workers; the plugin is among them.
var clientSetup = map[string]func(o *client.Options){}

// workerSetup changes the options of the workers themselves.
var workerSetup = map[string]func(o *worker.Options, c *config){}

// plugin is the one that the workers of a program have.
func (c *config) plugin() (*temporal.SimplePlugin, error) {
	o := &wdactivity.PluginOptions{RunDir: c.RunDir, NoPreflight: true}
	if setup := pluginSetup[c.Program]; setup != nil {
		setup(o, c)
	}
	return wdactivity.NewPlugin(o)
}

// wrap makes an activity of a function in the workspace of a URL.
func wrap[In, Out any](url string, fn func(context.Context, *mount.Mount, In) (Out, error), opts *wdactivity.Options) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) {
		return wdactivity.Do(ctx, url, opts, func(ctx context.Context, ws *mount.Mount) (Out, error) { return fn(ctx, ws, in) })
	}
}

// registerIn registers what wrap makes of a function.
func registerIn[In, Out any](w worker.ActivityRegistry, name, url string, fn func(context.Context, *mount.Mount, In) (Out, error), opts *wdactivity.Options) {
	w.RegisterActivityWithOptions(wrap(url, fn, opts), activity.RegisterOptions{Name: name})
}

// config is what a worker process is told by the test that starts it.
type config struct {
	Name    string            `json:"name"`    // identity of the worker
	Address string            `json:"address"` // of the Temporal server, or of the proxy before it
	Queue   string            `json:"queue"`   // task queue
	Program string            `json:"program"` // in programs
	Bucket  string            `json:"bucket"`  // URL of the store, with %s for the key
	RunDir  string            `json:"runDir"`
	Notes   string            `json:"notes"` // directory of notes
	Args    map[string]string `json:"args"`  // particular to the program

	Workflows   bool          `json:"workflows"` // it runs workflows as well
	Concurrent  int           `json:"concurrent"`
	StopTimeout time.Duration `json:"stopTimeout"`
}

// url names a workspace in the store; key may be a template.
func (c *config) url(key string) string { return strings.Replace(c.Bucket, "%s", key, 1) }

// note notifies the test, and later attempts, that something has happened. name has no
// slashes.
func (c *config) note(name string) error {
	return os.WriteFile(filepath.Join(c.Notes, name), nil, 0o644)
}

// noted reports whether something has happened, in this process or another one.
func (c *config) noted(name string) bool { return noted(c.Notes, name) }

func noted(notes, name string) bool {
	_, err := os.Lstat(filepath.Join(notes, name))
	return err == nil
}

// await waits until something has happened, or ctx has ended, and returns the cause
// of that.
func (c *config) await(ctx context.Context, name string) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !c.noted(name) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// configVariable makes the test binary a worker process: a config in JSON.
const configVariable = "WORKDIR_TEMPORAL_WORKER"

// readyLine is what a worker process prints when it polls.
const readyLine = "ready"

// workerMain is the main of a worker process. It works until SIGTERM, then stops
// as a worker of users does.
func workerMain(encoded string) int {
	if err := runWorker(encoded); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runWorker(encoded string) error {
	var c config
	if err := json.Unmarshal([]byte(encoded), &c); err != nil {
		return fmt.Errorf("%s: %w", configVariable, err)
	}
	p := programs[c.Program]
	if p == nil {
		return fmt.Errorf("there is no program %q", c.Program)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	plugin, err := c.plugin()
	if err != nil {
		return err
	}
	of := client.Options{
		Plugins:  []client.Plugin{plugin},
		HostPort: c.Address, Namespace: namespace, Identity: c.Name,
		Logger: log.NewStructuredLogger(warnings().With("worker", c.Name)),
	}
	if setup := clientSetup[c.Program]; setup != nil {
		setup(&of)
	}
	conn, err := client.DialContext(ctx, of)
	if err != nil {
		return err
	}
	defer conn.Close()
	opts := worker.Options{
		Identity:                           c.Name,
		DisableWorkflowWorker:              !c.Workflows,
		MaxConcurrentActivityExecutionSize: c.Concurrent,
		WorkerStopTimeout:                  c.StopTimeout,
	}
	if setup := workerSetup[c.Program]; setup != nil {
		setup(&opts, &c)
	}
	w := worker.New(conn, c.Queue, opts)
	p(w, &c)
	if err := w.Start(); err != nil {
		return err
	}
	fmt.Println(readyLine)
	<-ctx.Done()
	w.Stop()
	return nil
}
