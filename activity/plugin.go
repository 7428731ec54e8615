package activity

import (
	"context"
	"slices"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
)

// PluginName is the name of the plugin that NewPlugin gives.
const PluginName = "workdir"

// PluginOptions say what a plugin brings. The zero value brings a Preflight alone.
type PluginOptions struct {
	// Interceptor gives activities their workspaces, see NewInterceptor. nil: none.
	Interceptor *InterceptorOptions
	// Ready registers the ready-made activities. nil: none.
	Ready *ReadyOptions
	// Preflight is what is tried when the worker starts. nil: what the rules and
	// Ready use: mounts or plain directories, and directories to spill to, but no
	// store.
	Preflight *PreflightOptions
	// NoPreflight tries nothing, for workers that run no activities in workspaces.
	NoPreflight bool
}

// NewPlugin returns a plugin for client.Options.Plugins, for all workers of that
// client; or for worker.Options.Plugins. Only a plugin of the client knows the client's
// DataConverter, with which results are kept. Where the host or a
// store is not fit for workspaces the worker's Start and Run fail with the error of
// Preflight. A replayer gets the interceptor alone, which does nothing there.
//
// The error is for options that make no sense, as
// [InterceptorOptions.Check] and [RegisterActivities] find them.
func NewPlugin(opts *PluginOptions) (*temporal.SimplePlugin, error) {
	if opts == nil {
		opts = &PluginOptions{}
	}
	var inner []interceptor.WorkerInterceptor
	if opts.Interceptor != nil {
		rules, err := NewInterceptor(opts.Interceptor)
		if err != nil {
			return nil, err
		}
		inner = append(inner, rules)
	}
	var made *ready
	if opts.Ready != nil {
		var err error
		if made, err = newReady(opts.Ready); err != nil {
			return nil, err
		}
	}
	preflights := opts.preflights()
	return temporal.NewSimplePlugin(temporal.SimplePluginOptions{
		Name:               PluginName,
		WorkerInterceptors: inner,
		ConfigureClient:    tellConverter,
		RunContextBefore: func(ctx context.Context, run temporal.SimplePluginRunContextBeforeOptions) error {
			if run.WorkflowReplayer {
				return nil
			}
			for _, p := range preflights {
				if err := Preflight(ctx, p); err != nil {
					return err
				}
			}
			if made != nil {
				made.register(run.Registry)
			}
			return nil
		},
	})
}

// preflights gives what is tried when a worker starts.
func (o *PluginOptions) preflights() []*PreflightOptions {
	switch {
	case o.NoPreflight:
		return nil
	case o.Preflight != nil:
		return []*PreflightOptions{o.Preflight}
	}
	var all []*PreflightOptions
	if i := o.Interceptor; i != nil {
		p := &PreflightOptions{Plain: i.Plain, RunDir: i.RunDir}
		for _, r := range i.Rules {
			for _, w := range r.Workspaces {
				if w.Spill != "" {
					p.Spill = append(p.Spill, w.Spill)
				}
			}
		}
		all = append(all, p)
	}
	if r := o.Ready; r != nil && (len(r.Only) == 0 || slices.Contains(r.Only, ExecActivity)) {
		p := &PreflightOptions{}
		if x := r.Options; x != nil {
			p.Plain, p.RunDir = x.Plain, x.RunDir
			if x.Spill != "" {
				p.Spill = []string{x.Spill}
			}
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		all = append(all, &PreflightOptions{})
	}
	return all
}
