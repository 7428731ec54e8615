package activity

import (
	"context"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"

	"github.com/workdir/workdir/mount"
)

// NewInterceptor makes activities run in workspaces by configuration alone. It is
// given to worker.Options.Interceptors, or comes with [NewPlugin]. The error is what
// [InterceptorOptions.Check] finds wrong: rules may come from a file.
//
// An activity that a rule names finds its workspaces by Workspace, WorkspaceNamed
// and Path, and starts tools by Command, or with the environment of Environ. Each
// workspace is opened before the activity's function runs, and closed after it,
// by the rules of [Do]: to be stored it must be marked, by the function or by
// AutoCommit. An activity that knows nothing of workspaces needs AutoCommit.
//
// Interceptors that are before it in the list are around it: to have opening and
// storing in the span of a tracing interceptor, put that one first.
func NewInterceptor(opts *InterceptorOptions) (interceptor.WorkerInterceptor, error) {
	if opts == nil {
		opts = &InterceptorOptions{}
	}
	rules, err := opts.compile()
	if err != nil {
		return nil, err
	}
	return &workerInterceptor{rules: rules, converter: opts.DataConverter}, nil
}

type workerInterceptor struct {
	interceptor.WorkerInterceptorBase
	rules     []rule                  // immutable
	converter converter.DataConverter // immutable; nil for the client's
}

func (w *workerInterceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &activityInterceptor{rules: w.rules, converter: w.converter}
	i.Next = next
	return i
}

// activityInterceptor is one attempt of an activity.
type activityInterceptor struct {
	interceptor.ActivityInboundInterceptorBase
	rules     []rule                  // immutable
	converter converter.DataConverter // immutable
}

// Init has the heartbeats of the activity heard from its beginning; a Do in it
// hears only those that follow.
func (i *activityInterceptor) Init(out interceptor.ActivityOutboundInterceptor) error {
	return i.Next.Init(listen(out, nil, i.converter))
}

// ExecuteActivity runs the activity in the workspaces of its rule.
func (i *activityInterceptor) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	r := find(i.rules, sdk.GetInfo(ctx).ActivityType.Name)
	if r == nil {
		return i.Next.ExecuteActivity(ctx, in)
	}
	v := ruleVisit{rule: r, args: in.Args, found: make(named, len(r.list)), run: func(ctx context.Context) (any, error) {
		return i.Next.ExecuteActivity(ctx, in)
	}}
	return v.enter(ctx, r.order)
}

// ruleVisit is one activity in the workspaces of its rule.
type ruleVisit struct {
	rule  *rule
	args  []any
	found named // filled as they are mounted
	run   func(context.Context) (any, error)
}

// enter mounts those that are left to mount, and runs the activity in them. The
// one for writing is the outermost: where it is committed already nothing else is
// mounted, and an error of another one keeps it from being stored.
func (v *ruleVisit) enter(ctx context.Context, left []int) (any, error) {
	if len(left) == 0 {
		return v.run(withNamed(ctx, v.found))
	}
	w := v.rule.list[left[0]]
	return visitActivity(ctx, w.tmpl, w.opts, v.args, func(ctx context.Context, m *mount.Mount) (any, error) {
		v.found[left[0]] = namedWorkspace{name: w.name, env: w.env, m: m}
		return v.enter(ctx, left[1:])
	})
}
