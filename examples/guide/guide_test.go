package guide

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/workspace"
)

// newEnv returns the SDK's test environment with the plugin, and a store. Plain needs no FUSE, no
// root and no second process: these tests run anywhere.
func newEnv(t *testing.T, rules func(store string) *wdactivity.PluginOptions) (env *testsuite.TestActivityEnvironment, store string) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env = suite.NewTestActivityEnvironment()
	store = "file://" + t.TempDir()
	env.SetWorkerOptions(worker.Options{Plugins: []worker.Plugin{newPlugin(t, rules(store))}})
	return env, store
}

// newPlugin is for the worker options of a test environment.
func newPlugin(t *testing.T, opts *wdactivity.PluginOptions) worker.Plugin {
	t.Helper()
	opts.Plain, opts.RunDir, opts.NoPreflight = true, filepath.Join(t.TempDir(), "run"), true
	plugin, err := wdactivity.NewPlugin(opts)
	if err != nil {
		t.Fatal(err)
	}
	return plugin
}

// noRules are for activities that call Do.
func noRules(string) *wdactivity.PluginOptions { return &wdactivity.PluginOptions{} }

// The tests may be run by make, whose child would then say where it is.
func TestMain(m *testing.M) {
	os.Unsetenv("MAKEFLAGS")
	os.Unsetenv("MAKELEVEL")
	os.Exit(m.Run())
}

func TestBuild(t *testing.T) {
	env, store := newEnv(t, ByCustomer)
	env.RegisterActivity(&Activities{})
	put(t, store+"/customers/acme", map[string]string{"Makefile": "report:\n\t@date +%Y >year; echo done\n"})

	var out string
	value, err := env.ExecuteActivity("Build", Order{Customer: "acme", Target: "report"})
	if err := errors.Join(err, value.Get(&out)); err != nil || out != "done\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if year := cat(t, store+"/customers/acme", "year"); len(year) != 5 {
		t.Errorf("stored: %q", year)
	}

	_, err = env.ExecuteActivity("Build", Order{Customer: "../up", Target: "report"})
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != errtype.URL || !app.NonRetryable() {
		t.Errorf("a customer that would lead elsewhere: %v", err)
	}
}

func TestPublish(t *testing.T) {
	env, store := newEnv(t, noRules)
	put(t, store+"/settings", map[string]string{"name": "index.html"})
	put(t, store+"/customers/acme", map[string]string{"out": "hello"})
	env.RegisterActivityWithOptions(func(ctx context.Context, customer string) (string, error) {
		return Publish(ctx, store, customer, wdactivity.Options{})
	}, activity.RegisterOptions{Name: "Publish"})

	if _, err := env.ExecuteActivity("Publish", "acme"); err != nil {
		t.Fatal(err)
	}
	if got := cat(t, store+"/published", "index.html"); got != "hello" {
		t.Errorf("published: %q", got)
	}
}

// Steps are commits of their own.
func TestSteps(t *testing.T) {
	env, store := newEnv(t, noRules)
	env.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
		return Ledger(ctx, store+"/ledger", nil)
	}, activity.RegisterOptions{Name: "Ledger"})
	env.RegisterActivityWithOptions(func(ctx context.Context) (int, error) {
		return Long(ctx, store+"/long", nil, 3)
	}, activity.RegisterOptions{Name: "Long"})

	if _, err := env.ExecuteActivity("Ledger"); err != nil {
		t.Fatal(err)
	}
	if got := cat(t, store+"/ledger", "ledger"); got != "reserved\nbooked 7\n" {
		t.Errorf("ledger: %q", got)
	}
	if _, err := env.ExecuteActivity("Long"); err != nil {
		t.Fatal(err)
	}
	if got := cat(t, store+"/long", "parts"); got != "0\n1\n2\n" {
		t.Errorf("parts: %q", got)
	}
}

func TestPlugin(t *testing.T) {
	env, store := newEnv(t, func(store string) *wdactivity.PluginOptions {
		config := []byte(strings.ReplaceAll(Config, "STORE", store))
		if _, err := Plugin(config); err != nil {
			t.Fatal(err)
		}
		var opts wdactivity.PluginOptions
		if err := json.Unmarshal(config, &opts); err != nil {
			t.Fatal(err)
		}
		return &opts
	})
	put(t, store+"/fonts", map[string]string{"plain.ttf": ""})
	env.RegisterActivity(Resize)

	if _, err := env.ExecuteActivity(Resize, 3); err != nil {
		t.Fatal(err)
	}
	if got := cat(t, store+"/default-test-workflow-id", "picture.txt"); got != "3 times as large\n" {
		t.Errorf("picture: %q", got)
	}
}

// In a workflow's test the activities run too, with their retries.
func TestWorkflow(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	store := "file://" + t.TempDir()
	env.SetWorkerOptions(worker.Options{Plugins: []worker.Plugin{newPlugin(t, ByCustomer(store))}})
	env.RegisterActivity(&Activities{})
	put(t, store+"/customers/acme", map[string]string{"Makefile": "report:\n\t@echo done\n"})

	env.ExecuteWorkflow(Workflow, Order{Customer: "acme", Target: "report"})
	var out string
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&out)); err != nil || out != "done\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// What is kept in the archive is encrypted with the client's codec.
func TestEncrypting(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env, store := suite.NewTestActivityEnvironment(), "file://"+t.TempDir()
	clients, err := Encrypting(reversing{})
	if err != nil {
		t.Fatal(err)
	}
	// What a client does with its plugins, and a worker with the client's interceptors.
	if err := clients.Plugins[0].ConfigureClient(t.Context(), client.PluginConfigureClientOptions{ClientOptions: &clients}); err != nil {
		t.Fatal(err)
	}
	env.SetDataConverter(clients.DataConverter)
	env.SetWorkerOptions(worker.Options{
		Interceptors: []interceptor.WorkerInterceptor{clients.Interceptors[0].(interceptor.WorkerInterceptor)},
		Plugins:      []worker.Plugin{newPlugin(t, noRules(store))},
	})
	env.RegisterActivityWithOptions(func(ctx context.Context, in string) (string, error) {
		return wdactivity.Do(ctx, store+"/answer", nil, func(_ context.Context, ws *mount.Mount) (string, error) {
			return "secret of " + in, errors.Join(appendLine(ws.Path("f"), "x"), ws.Commit())
		})
	}, activity.RegisterOptions{Name: "Answer"})
	if _, err := env.ExecuteActivity("Answer", "acme"); err != nil {
		t.Fatal(err)
	}
	log, _, err := workspace.Log(t.Context(), store+"/answer")
	if err != nil {
		t.Fatal(err)
	}
	if kept := log.Record.Result; len(kept) == 0 || bytes.Contains(kept, []byte("secret")) || !bytes.Contains(kept, []byte("terces")) {
		t.Errorf("kept: %q", kept)
	}
}

// reversing stands for a codec that encrypts.
type reversing struct{}

func (reversing) Encode(payloads []*common.Payload) ([]*common.Payload, error) {
	var out []*common.Payload
	for _, p := range payloads {
		data := bytes.Clone(p.Data)
		slices.Reverse(data)
		out = append(out, &common.Payload{Metadata: p.Metadata, Data: data})
	}
	return out, nil
}

func (r reversing) Decode(payloads []*common.Payload) ([]*common.Payload, error) {
	return r.Encode(payloads)
}

// put stores a workspace.
func put(t *testing.T, url string, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := workspace.Import(t.Context(), dir, url, nil); err != nil {
		t.Fatal(err)
	}
}

// cat returns the content of a file of a stored workspace.
func cat(t *testing.T, url, name string) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := workspace.Cat(t.Context(), url, []string{name}, &b, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
