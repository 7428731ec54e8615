package activity

import (
	"context"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"

	"github.com/workdir/workdir/mount"
)

// workerInterceptor is the plugin in one worker.
type workerInterceptor struct {
	interceptor.WorkerInterceptorBase
	plugin *plugin // immutable
	key    string  // immutable; of this worker or test environment, and of no other

	mu    sync.RWMutex
	types map[string][]string // guarded by mu; the names of the function that is registered for an activity type

	pasts pasts // has its own lock
}

// InterceptActivity begins an attempt.
func (w *workerInterceptor) InterceptActivity(ctx context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &activityInterceptor{attempt: attempt{worker: w, info: sdk.GetInfo(ctx)}}
	i.Next = next
	return i
}

// activityInterceptor is one attempt of an activity.
type activityInterceptor struct {
	interceptor.ActivityInboundInterceptorBase
	attempt attempt
	heard   outbound
}

// Init starts recording the activity's heartbeats.
func (i *activityInterceptor) Init(out interceptor.ActivityOutboundInterceptor) error {
	i.attempt.out, i.heard.attempt, i.heard.Next = out, &i.attempt, out
	return i.Next.Init(&i.heard)
}

// ExecuteActivity runs the activity in the workspaces of its rule, if it has one.
func (i *activityInterceptor) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (out any, err error) {
	a := &i.attempt
	a.begin(ctx, in.Args)
	defer a.lose(nil)
	if r := a.worker.ruleOf(a.info.ActivityType.Name); r != nil {
		out, err = r.enter(a.ctx, r.order, func(ctx context.Context) (any, error) { return i.Next.ExecuteActivity(ctx, in) })
	} else {
		out, err = i.Next.ExecuteActivity(a.ctx, in)
	}
	if err != nil {
		a.shareCancellation(ctx)
	}
	return out, err
}

// enter mounts the remaining workspaces, by their indices in the rule, and runs the activity
// in them. The writable one is the outermost: if its step is already committed nothing else is
// mounted, and an error of another one prevents it from being stored.
func (r *rule) enter(ctx context.Context, left []int, run func(context.Context) (any, error)) (out any, err error) {
	if len(left) == 0 {
		return run(ctx)
	}
	w := r.list[left[0]]
	err = visitWorkspace(ctx, w, &out, func(ctx context.Context, _ *mount.Mount) (err error) {
		out, err = r.enter(ctx, left[1:], run)
		return err
	})
	return out, err
}

// registered records which functions the worker runs for which activity types.
func (w *workerInterceptor) registered(fn any, opts sdk.RegisterOptions) {
	v := reflect.ValueOf(fn)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case v.Kind() == reflect.Func:
		name := functionName(v)
		if opts.Name != "" {
			w.types[opts.Name] = []string{name}
		} else {
			w.types[defaultType(name)] = []string{name}
		}
	case v.Kind() == reflect.Pointer:
		for m := range v.Type().Methods() {
			w.types[opts.Name+m.Name] = methodNames(v.Type(), m.Name)
		}
	}
}

// ruleOf returns the rule of an activity type: the first that matches; nil if none does.
// A type registered before the plugin was set, in a test environment, is taken for the
// function that the SDK would name so by default. The SDK's activities that begin and end
// sessions have none, whatever a pattern matches: the first lasts as long as its session.
func (w *workerInterceptor) ruleOf(activityType string) *rule {
	if strings.HasPrefix(activityType, sessionPrefix) {
		return nil
	}
	w.mu.RLock()
	functions, known := w.types[activityType]
	w.mu.RUnlock()
	for i := range w.plugin.rules {
		r := &w.plugin.rules[i]
		switch {
		case r.function == "" && r.pattern.MatchString(activityType),
			r.function != "" && slices.Contains(functions, r.function),
			r.function != "" && !known && defaultType(r.function) == activityType:
			return r
		}
	}
	return nil
}

// sessionPrefix begins the activity types of the SDK's sessions. Source:
// sessionCreationActivityName in the SDK's internal/session.go.
const sessionPrefix = "internalSession"

// methodNames returns the names by which a method of the pointer type t can be referred to. A
// method promoted from an embedded type has a name for each type on the way to the one that
// declares it: a method value has the name of the last.
func methodNames(t reflect.Type, method string) (names []string) {
	for level := []reflect.Type{t}; len(level) > 0; {
		var next []reflect.Type
		for _, t := range level {
			m, ok := t.MethodByName(method)
			if !ok {
				continue
			}
			names = append(names, functionName(m.Func))
			if declares(t, method) {
				return names
			}
			next = append(next, embedded(t.Elem())...)
		}
		level = next
	}
	return names
}

// declares reports whether a method of the pointer type t is declared on t or its element
// type, rather than promoted from an embedded type.
func declares(t reflect.Type, method string) bool {
	for _, t := range []reflect.Type{t, t.Elem()} {
		if m, ok := t.MethodByName(method); ok {
			pc := m.Func.Pointer()
			if file, _ := runtime.FuncForPC(pc).FileLine(pc); file != "<autogenerated>" {
				return true
			}
		}
	}
	return false
}

// embedded returns pointers to the types that a struct embeds, except interfaces.
func embedded(t reflect.Type) (list []reflect.Type) {
	if t.Kind() != reflect.Struct {
		return nil
	}
	for f := range t.Fields() {
		switch {
		case !f.Anonymous || f.Type.Kind() == reflect.Interface:
		case f.Type.Kind() == reflect.Pointer:
			list = append(list, f.Type)
		default:
			list = append(list, reflect.PointerTo(f.Type))
		}
	}
	return list
}

// functionName names a function or method, the same for all ways to refer to a method:
// (*T).Method, T.Method, and t.Method.
func functionName(fn reflect.Value) string {
	name := runtime.FuncForPC(fn.Pointer()).Name()
	return strings.NewReplacer("(*", "", ")", "").Replace(strings.TrimSuffix(name, "-fm"))
}

// defaultType is the activity type of a function that is registered without a name.
// Source: getFunctionName in the SDK's internal_worker.go.
func defaultType(function string) string {
	return function[strings.LastIndexByte(function, '.')+1:]
}

// unnamed matches function literals and instances of generic functions: several of them
// have one name.
var unnamed = regexp.MustCompile(`\bfunc\d+(\.\d+)*$|\[`)
