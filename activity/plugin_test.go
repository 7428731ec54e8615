package activity_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/store"
)

// start starts a worker's plugin.
func start(t *testing.T, opts *wdactivity.PluginOptions) error {
	t.Helper()
	plugin, err := wdactivity.NewPlugin(opts)
	require.NoError(t, err)
	started := false
	err = plugin.StartWorker(t.Context(), worker.PluginStartWorkerOptions{},
		func(context.Context, worker.PluginStartWorkerOptions) error { started = true; return nil })
	require.Equal(t, err == nil, started)
	return err
}

func TestPreflight(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	try := func(p wdactivity.PreflightOptions) wdactivity.PluginOptions {
		return wdactivity.PluginOptions{RunDir: b.runDir, Preflight: &p}
	}
	spilling := func(dir string) []wdactivity.Rule {
		return []wdactivity.Rule{{Activity: "a", URL: b.url("ws"), Options: wdactivity.Options{Spill: dir}}}
	}
	tests := []struct {
		name string
		opts wdactivity.PluginOptions
		want string // part of the error; "" for none
		is   error
	}{
		{"host", wdactivity.PluginOptions{RunDir: b.runDir}, "", nil},
		{"plain", wdactivity.PluginOptions{RunDir: b.runDir, Plain: true}, "", nil},
		{"spill", try(wdactivity.PreflightOptions{Spill: []string{b.store}}), "", nil},
		{"bad spill", try(wdactivity.PreflightOptions{Spill: []string{b.store, file}}), file, nil},
		{"spill of a rule", wdactivity.PluginOptions{RunDir: b.runDir, Rules: spilling(b.store)}, "", nil},
		{"bad spill of a rule", wdactivity.PluginOptions{RunDir: b.runDir, Rules: spilling(file)}, file, nil},
		{"bad run directory", wdactivity.PluginOptions{RunDir: file}, file, nil},
		{"nothing", wdactivity.PluginOptions{RunDir: file, NoPreflight: true}, "", nil},
		{"template", try(wdactivity.PreflightOptions{Templates: []string{"mem://b/{order}"}, Vars: []string{"order"}}), "", nil},
		{"bad template", try(wdactivity.PreflightOptions{Templates: []string{"mem://b/{order}"}}), "unknown variable {order}", store.ErrURL},
		{"store", try(wdactivity.PreflightOptions{Stores: []string{b.url("jobs/")}}), "", nil},
		{"bad store", try(wdactivity.PreflightOptions{Stores: []string{"file://" + file + "/jobs/"}}), file, nil},
		{"no store", try(wdactivity.PreflightOptions{Stores: []string{"nonsense://b/"}}), "nonsense", store.ErrURL},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := start(t, &test.opts)
			if test.want == "" {
				require.NoError(t, err)
				b.noMounts()
				return
			}
			require.ErrorContains(t, err, "preflight: ")
			require.ErrorContains(t, err, test.want)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
		})
	}
}

// configure has a plugin prepare a worker that has some interceptors already.
func configure(t *testing.T, plugin worker.Plugin, opts *worker.Options, registry *worker.PluginConfigureWorkerRegistryOptions) error {
	t.Helper()
	return plugin.ConfigureWorker(t.Context(), worker.PluginConfigureWorkerOptions{WorkerOptions: opts, WorkerRegistryOptions: registry})
}

// The client and its worker may have the same plugin, which then counts once; with two
// different ones each would have its own idea of a step.
func TestOnePluginForAWorker(t *testing.T) {
	one, two := plugins(t, nil)[0], plugins(t, nil)[0]
	var opts worker.Options
	var registry worker.PluginConfigureWorkerRegistryOptions
	require.NoError(t, configure(t, one, &opts, &registry))
	require.NoError(t, configure(t, one, &opts, &registry))
	require.Len(t, opts.Interceptors, 1)
	require.ErrorContains(t, configure(t, two, &opts, &registry), "two plugins")
}

// Another plugin may listen to registrations as well.
func TestRegistrationsArePassedOn(t *testing.T) {
	var heard []string
	registry := worker.PluginConfigureWorkerRegistryOptions{
		OnRegisterActivity: func(_ any, o sdk.RegisterOptions) { heard = append(heard, o.Name) },
	}
	require.NoError(t, configure(t, plugins(t, nil)[0], &worker.Options{}, &registry))
	registry.OnRegisterActivity(Plain, sdk.RegisterOptions{Name: "plain"})
	require.Equal(t, []string{"plain"}, heard)
}

// A worker on a host that is not fit does not start, rather than fail every
// attempt.
func TestPluginKeepsAWorkerFromStarting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{RunDir: file})
	require.NoError(t, err)
	c, err := client.NewLazyClient(client.Options{Logger: quiet})
	require.NoError(t, err)
	defer c.Close()
	w := worker.New(c, "queue", worker.Options{Plugins: []worker.Plugin{plugin}})
	err = w.Start()
	require.ErrorContains(t, err, "preflight: ")
	require.ErrorContains(t, err, file)
}

// The plugin asks the next one.
func TestPluginStartsTheNextOne(t *testing.T) {
	err := plugins(t, nil)[0].StartWorker(t.Context(), worker.PluginStartWorkerOptions{}, func(context.Context, worker.PluginStartWorkerOptions) error {
		return errors.New("the next one was asked")
	})
	require.ErrorContains(t, err, "the next one")
}
