package activity

import (
	"context"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
)

// converterKey is the key of a context's data converter: the one of the client whose
// worker runs the activity.
type converterKey struct{}

// converterOf returns own if there is one, else the converter of the client that the
// activity belongs to, as far as a plugin has told it, else the SDK's default.
func converterOf(ctx context.Context, own converter.DataConverter) converter.DataConverter {
	if own != nil {
		return own
	}
	if dc, ok := ctx.Value(converterKey{}).(converter.DataConverter); ok {
		return dc
	}
	return converter.GetDefaultDataConverter()
}

// clientInterceptor tells all activities of a client's workers the data converter of
// that client, which the SDK does not. The SDK takes an interceptor of a client that is
// one of workers too for both.
type clientInterceptor struct {
	interceptor.InterceptorBase
	options *client.Options // the client's own; not changed once its workers run
}

// tellConverter is the plugin's hook for a client that is being made. Plugins behind it
// may still set another converter.
func tellConverter(_ context.Context, o client.PluginConfigureClientOptions) error {
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
