package activity

import (
	"context"
	"errors"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/workdir/workdir/mount"
)

// PluginOptions are the options of a plugin. The zero value suffices for activities that call
// [Do]. They can be read from JSON or YAML; in JSON an unknown field is an error.
type PluginOptions struct {
	// Rules assign workspaces to activities. The first rule whose Activity matches applies; an
	// activity without a rule runs without a workspace.
	Rules []Rule `json:"rules,omitempty" yaml:"rules,omitempty"`
	// Plain uses plain directories instead of mounts for all workspaces of the worker,
	// where FUSE is forbidden. See mount.Options for what it cannot do.
	Plain bool `json:"plain,omitempty" yaml:"plain,omitempty"`
	// RunDir is where the worker's mountpoints are, see mount.Options. "": the default
	// of package mount.
	RunDir string `json:"runDir,omitempty" yaml:"runDir,omitempty"`
	// DataConverter encodes the functions' results, which the archive keeps for an attempt
	// that finds its step committed. nil: that of the client, if the client has the plugin. If
	// only the worker has it, and the client's payloads are encrypted, set it: otherwise the
	// SDK's default is used, and results are readable in the archive.
	DataConverter converter.DataConverter `json:"-" yaml:"-"`
	// Preflight is what is tested when the worker starts, besides the host. nil: the host and
	// the rules' spill directories.
	Preflight *PreflightOptions `json:"-" yaml:"-"`
	// NoPreflight skips these tests, for unit tests, and for workers that mostly run other
	// activities.
	NoPreflight bool `json:"-" yaml:"-"`
}

// UnmarshalJSON refuses unknown fields: a rule with a misspelt autoCommit would never
// store anything.
func (o *PluginOptions) UnmarshalJSON(text []byte) error {
	type plain PluginOptions
	return strictJSON(text, (*plain)(o))
}

// plugin is the state of a plugin. It is immutable.
type plugin struct {
	opts  PluginOptions
	rules []rule
}

// NewPlugin returns the plugin by which a worker runs activities in workspaces. Set it in
// client.Options.Plugins, for all workers of that client; or in worker.Options.Plugins, and in
// tests by SetWorkerOptions of the SDK's environments.
//
// If the host or a store is unfit for workspaces the worker's Start and Run fail. A worker has
// one plugin of this package: worker.New panics on a second one. In a replayer it does
// nothing.
//
// The worker's interceptors wrap the plugin's: a tracing interceptor includes opening and
// storing in the activity's span.
//
// The error says which rule can never work, and why.
func NewPlugin(opts *PluginOptions) (*temporal.SimplePlugin, error) {
	p := &plugin{}
	if opts != nil {
		p.opts = *opts
	}
	var err error
	if p.rules, err = compileRules(p.opts.Rules); err != nil {
		return nil, err
	}
	return temporal.NewSimplePlugin(temporal.SimplePluginOptions{
		Name:            "workdir.Workspaces",
		Version:         mount.Version(),
		ConfigureClient: configureClient,
		ConfigureWorker: p.configureWorker,
		RunContextBefore: func(ctx context.Context, run temporal.SimplePluginRunContextBeforeOptions) error {
			if run.WorkflowReplayer || p.opts.NoPreflight {
				return nil
			}
			return p.preflight(ctx)
		},
	})
}

// configureWorker adds the interceptor to a worker, and notifies it of registered activities.
func (p *plugin) configureWorker(_ context.Context, o worker.PluginConfigureWorkerOptions) error {
	for _, other := range o.WorkerOptions.Interceptors {
		if w, ok := other.(*workerInterceptor); ok {
			if w.plugin == p {
				return nil // set on both the client and the worker
			}
			return errors.New("wdactivity: the worker has two plugins of NewPlugin; use one, with all rules")
		}
	}
	w := &workerInterceptor{plugin: p, key: o.WorkerInstanceKey, types: map[string][]string{}}
	o.WorkerOptions.Interceptors = append(o.WorkerOptions.Interceptors, w)
	next := o.WorkerRegistryOptions.OnRegisterActivity
	o.WorkerRegistryOptions.OnRegisterActivity = func(fn any, opts sdk.RegisterOptions) {
		w.registered(fn, opts)
		if next != nil {
			next(fn, opts)
		}
	}
	return nil
}
