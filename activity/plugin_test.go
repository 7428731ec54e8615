package activity_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/store"
)

func TestPreflight(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	tests := []struct {
		name string
		opts wdactivity.PreflightOptions
		want string // part of the error; "" for none
		is   error
	}{
		{"host", wdactivity.PreflightOptions{}, "", nil},
		{"plain", wdactivity.PreflightOptions{Plain: true}, "", nil},
		{"spill", wdactivity.PreflightOptions{Spill: []string{b.store}}, "", nil},
		{"bad spill", wdactivity.PreflightOptions{Spill: []string{b.store, file}}, file, nil},
		{"bad run directory", wdactivity.PreflightOptions{RunDir: file}, file, nil},
		{"template", wdactivity.PreflightOptions{Templates: []string{"mem://b/{order}"}, Vars: []string{"order"}}, "", nil},
		{"bad template", wdactivity.PreflightOptions{Templates: []string{"mem://b/{order}"}}, "unknown variable {order}", store.ErrURL},
		{"store", wdactivity.PreflightOptions{Stores: []string{b.url("jobs/")}}, "", nil},
		{"bad store", wdactivity.PreflightOptions{Stores: []string{"file://" + file + "/jobs/"}}, file, nil},
		{"no store", wdactivity.PreflightOptions{Stores: []string{"nonsense://b/"}}, "nonsense", store.ErrURL},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.opts.RunDir == "" {
				test.opts.RunDir = b.runDir
			}
			err := wdactivity.Preflight(t.Context(), &test.opts)
			if test.want == "" {
				require.NoError(t, err)
				b.noMounts()
				return
			}
			require.ErrorContains(t, err, test.want)
			if test.is != nil {
				require.ErrorIs(t, err, test.is)
			}
		})
	}
}

// names is a registry that keeps the names of what is registered.
type names struct {
	worker.Registry
	list []string
}

func (n *names) RegisterActivityWithOptions(_ any, options sdk.RegisterOptions) {
	n.list = append(n.list, options.Name)
}

func TestPluginPreparesAWorker(t *testing.T) {
	b := newBench(t)
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{
		Interceptor: b.rules(),
		Ready:       &wdactivity.ReadyOptions{Allow: []string{b.url("")}, Only: []string{"workdir.List", "workdir.Copy"}},
	})
	require.NoError(t, err)
	var opts worker.Options
	require.NoError(t, plugin.ConfigureWorker(t.Context(), worker.PluginConfigureWorkerOptions{WorkerOptions: &opts}))
	require.Len(t, opts.Interceptors, 1)
	var registry names
	started := false
	err = plugin.StartWorker(t.Context(), worker.PluginStartWorkerOptions{WorkerRegistry: &registry},
		func(context.Context, worker.PluginStartWorkerOptions) error { started = true; return nil })
	require.NoError(t, err)
	require.True(t, started)
	slices.Sort(registry.list)
	require.Equal(t, []string{"workdir.Copy", "workdir.List"}, registry.list)
}

// A worker on a host that is not fit does not start, rather than fail every
// attempt.
func TestPluginKeepsAWorkerFromStarting(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{
		Interceptor: &wdactivity.InterceptorOptions{RunDir: file},
	})
	require.NoError(t, err)
	c, err := client.NewLazyClient(client.Options{Logger: quiet})
	require.NoError(t, err)
	defer c.Close()
	w := worker.New(c, "queue", worker.Options{Plugins: []worker.Plugin{plugin}})
	err = w.Start()
	require.ErrorContains(t, err, "preflight: ")
	require.ErrorContains(t, err, file)
}

func TestPluginOptions(t *testing.T) {
	for _, opts := range []*wdactivity.PluginOptions{
		{Interceptor: &wdactivity.InterceptorOptions{Rules: []wdactivity.Rule{{}}}},
		{Ready: &wdactivity.ReadyOptions{}},
	} {
		_, err := wdactivity.NewPlugin(opts)
		require.Error(t, err)
	}
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{NoPreflight: true})
	require.NoError(t, err)
	err = plugin.StartWorker(t.Context(), worker.PluginStartWorkerOptions{}, func(context.Context, worker.PluginStartWorkerOptions) error {
		return errors.New("the next one was asked")
	})
	require.ErrorContains(t, err, "the next one")
}
