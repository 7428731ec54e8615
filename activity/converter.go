package activity

import (
	"context"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"

	"github.com/workdir/workdir/activity/internal/template"
)

// converterKey is the key of a context's data converter: the one of the client whose
// worker runs the activity.
type converterKey struct{}

// contextConverter returns the data converter that the SDK would use in the activity's
// context: the plugin's, or that of the client, or the SDK's default.
func (a *attempt) contextConverter(ctx context.Context) converter.DataConverter {
	dc := a.worker.plugin.opts.DataConverter
	if dc == nil {
		dc, _ = ctx.Value(converterKey{}).(converter.DataConverter)
	}
	if dc == nil {
		dc = converter.GetDefaultDataConverter()
	}
	if c, ok := dc.(interface {
		WithContext(context.Context) converter.DataConverter
	}); ok {
		dc = c.WithContext(ctx)
	}
	return converter.WithDataConverterSerializationContext(dc, converter.ActivitySerializationContext{
		Namespace:    a.info.Namespace,
		WorkflowID:   a.info.WorkflowExecution.ID,
		WorkflowType: template.WorkflowType(&a.info),
		ActivityType: a.info.ActivityType.Name,
		TaskQueue:    a.info.TaskQueue,
		IsLocal:      a.info.IsLocalActivity,
	})
}

// clientInterceptor puts the data converter of a client into the contexts of all
// activities of the client's workers; the SDK has no way to ask for it. The SDK uses a
// client's interceptor that is also a worker interceptor as both, and puts it around those of
// the workers.
type clientInterceptor struct {
	interceptor.InterceptorBase
	options *client.Options // the client's own; not changed once its workers run
}

// configureClient is the plugin's hook for a client that is being created. Later plugins may
// still set another converter.
func configureClient(_ context.Context, o client.PluginConfigureClientOptions) error {
	o.ClientOptions.Interceptors = append(o.ClientOptions.Interceptors, &clientInterceptor{options: o.ClientOptions})
	return nil
}

func (c *clientInterceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &converterInterceptor{options: c.options}
	i.Next = next
	return i
}

// converterInterceptor is clientInterceptor for one attempt.
type converterInterceptor struct {
	interceptor.ActivityInboundInterceptorBase
	options *client.Options
}

// ExecuteActivity passes on a context that has the client's converter.
func (i *converterInterceptor) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	if dc := i.options.DataConverter; dc != nil {
		ctx = context.WithValue(ctx, converterKey{}, dc)
	}
	return i.Next.ExecuteActivity(ctx, in)
}
