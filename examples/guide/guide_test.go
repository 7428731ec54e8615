package guide

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/activity/wdtest"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/workspace"
)

// The tests may be run by make, whose child would then say where it is.
func TestMain(m *testing.M) {
	os.Unsetenv("MAKEFLAGS")
	os.Unsetenv("MAKELEVEL")
	os.Exit(m.Run())
}

func TestBuild(t *testing.T) {
	store := wdtest.NewStore(t)
	wdtest.Put(t, store+"/customers/acme", map[string]string{"Makefile": "report:\n\t@date +%Y >year; echo done\n"})
	env := wdtest.NewEnv(t, ByCustomer(store))
	env.RegisterActivity(&Activities{})

	var out string
	value, err := env.ExecuteActivity("Build", Order{Customer: "acme", Target: "report"})
	if err := errors.Join(err, value.Get(&out)); err != nil || out != "done\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if year := wdtest.Get(t, store+"/customers/acme")["year"]; len(year) != 5 {
		t.Errorf("stored: %q", year)
	}

	_, err = env.ExecuteActivity("Build", Order{Customer: "../up", Target: "report"})
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != errtype.URL || !app.NonRetryable() {
		t.Errorf("a customer that would lead elsewhere: %v", err)
	}
}

func TestPublish(t *testing.T) {
	env, store := wdtest.NewEnv(t, nil), wdtest.NewStore(t)
	wdtest.Put(t, store+"/settings", map[string]string{"name": "index.html"})
	wdtest.Put(t, store+"/customers/acme", map[string]string{"out": "hello"})
	env.RegisterActivityWithOptions(func(ctx context.Context, customer string) (string, error) {
		return Publish(ctx, store, customer, wdactivity.Options{})
	}, activity.RegisterOptions{Name: "Publish"})

	if _, err := env.ExecuteActivity("Publish", "acme"); err != nil {
		t.Fatal(err)
	}
	if got := wdtest.Get(t, store+"/published")["index.html"]; got != "hello" {
		t.Errorf("published: %q", got)
	}
}

// Steps are commits of their own.
func TestSteps(t *testing.T) {
	env, store := wdtest.NewEnv(t, nil), wdtest.NewStore(t)
	env.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
		return Ledger(ctx, store+"/ledger", nil)
	}, activity.RegisterOptions{Name: "Ledger"})
	env.RegisterActivityWithOptions(func(ctx context.Context) (int, error) {
		return Long(ctx, store+"/long", nil, 3)
	}, activity.RegisterOptions{Name: "Long"})

	if _, err := env.ExecuteActivity("Ledger"); err != nil {
		t.Fatal(err)
	}
	if got := wdtest.Get(t, store+"/ledger")["ledger"]; got != "reserved\nbooked 7\n" {
		t.Errorf("ledger: %q", got)
	}
	if _, err := env.ExecuteActivity("Long"); err != nil {
		t.Fatal(err)
	}
	if got := wdtest.Get(t, store+"/long")["parts"]; got != "0\n1\n2\n" {
		t.Errorf("parts: %q", got)
	}
}

func TestKept(t *testing.T) {
	store := wdtest.NewStore(t)
	rules := ByCustomer(store)
	kept := Kept(store)
	kept.Vars = rules.Rules[0].Vars
	rules.Rules[0].Options = kept
	env := wdtest.NewEnv(t, rules)
	env.RegisterActivity(&Activities{})
	url := store + "/customers/acme"
	wdtest.Put(t, url, map[string]string{"Makefile": "good:\n\t@echo x >>good\nbad:\n\t@echo half >bad; exit 1\n"})

	if _, err := env.ExecuteActivity("Build", Order{Customer: "acme", Target: "good"}); err != nil {
		t.Fatal(err)
	}
	if versions, err := workspace.Versions(t.Context(), url); err != nil || len(versions) != 1 {
		t.Errorf("%d versions, %v", len(versions), err)
	}
	if _, err := env.ExecuteActivity("Build", Order{Customer: "acme", Target: "bad"}); err == nil {
		t.Error("make has not failed")
	}
	failed := wdtest.Get(t, store+"/failed/default-test-workflow-id/1-1")
	if failed["bad"] != "half\n" || failed["good"] != "x\n" {
		t.Errorf("saved: %q", failed)
	}
}

// In a test nothing is reset: the options are those of any workspace whose versions are kept.
func TestRewinding(t *testing.T) {
	store := wdtest.NewStore(t)
	rules := ByCustomer(store)
	rewinding := Rewinding()
	rewinding.Vars = rules.Rules[0].Vars
	rules.Rules[0].Options = rewinding
	env := wdtest.NewEnv(t, rules)
	env.RegisterActivity(&Activities{})
	wdtest.Put(t, store+"/customers/acme", map[string]string{"Makefile": "out:\n\t@echo x >>out\n"})
	if _, err := env.ExecuteActivity("Build", Order{Customer: "acme", Target: "out"}); err != nil {
		t.Fatal(err)
	}
	if got := wdtest.Get(t, store+"/customers/acme")["out"]; got != "x\n" {
		t.Errorf("out: %q", got)
	}
}

func TestPlugin(t *testing.T) {
	store := wdtest.NewStore(t)
	config := []byte(strings.ReplaceAll(Config, "STORE", store))
	if _, err := Plugin(config); err != nil {
		t.Fatal(err)
	}
	var opts wdactivity.PluginOptions
	if err := json.Unmarshal(config, &opts); err != nil {
		t.Fatal(err)
	}
	env := wdtest.NewEnv(t, &opts)
	wdtest.Put(t, store+"/fonts", map[string]string{"plain.ttf": ""})
	env.RegisterActivity(Resize)

	if _, err := env.ExecuteActivity(Resize, 3); err != nil {
		t.Fatal(err)
	}
	if got := wdtest.Get(t, store+"/default-test-workflow-id")["picture.txt"]; got != "3 times as large\n" {
		t.Errorf("picture: %q", got)
	}
}

// In a workflow's test the activities run too, with their retries.
func TestWorkflow(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	store := wdtest.NewStore(t)
	env.SetWorkerOptions(wdtest.WorkerOptions(t, ByCustomer(store)))
	env.RegisterActivity(&Activities{})
	wdtest.Put(t, store+"/customers/acme", map[string]string{"Makefile": "report:\n\t@echo done\n"})

	env.ExecuteWorkflow(Workflow, Order{Customer: "acme", Target: "report"})
	var out string
	if err := errors.Join(env.GetWorkflowError(), env.GetWorkflowResult(&out)); err != nil || out != "done\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// What is kept in the archive is encrypted with the client's codec.
func TestEncrypting(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	env, store := suite.NewTestActivityEnvironment(), wdtest.NewStore(t)
	clients, err := Encrypting(reversing{})
	if err != nil {
		t.Fatal(err)
	}
	// What a client does with its plugins, and a worker with the client's interceptors.
	if err := clients.Plugins[0].ConfigureClient(t.Context(), client.PluginConfigureClientOptions{ClientOptions: &clients}); err != nil {
		t.Fatal(err)
	}
	env.SetDataConverter(clients.DataConverter)
	opts := wdtest.WorkerOptions(t, nil)
	opts.Interceptors = []interceptor.WorkerInterceptor{clients.Interceptors[0].(interceptor.WorkerInterceptor)}
	env.SetWorkerOptions(opts)
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
