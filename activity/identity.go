package activity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/workflow"
)

// byObject is a map whose keys stand for objects of somebody else, with entries
// that go when those objects do.
type byObject[K comparable, V any] struct {
	mu      sync.Mutex
	entries map[K]V // guarded by mu
}

// of gives the value of an object, and makes it at the first time. key must be
// made of weak pointers to the object, and neither it nor the value may lead to
// the object otherwise, or it would live for ever.
func of[T any, K comparable, V any](b *byObject[K, V], object *T, key K, create func() V) V {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v, ok := b.entries[key]; ok {
		return v
	}
	v := create()
	if b.entries == nil {
		b.entries = map[K]V{}
	}
	b.entries[key] = v
	runtime.AddCleanup(object, b.forget, key)
	return v
}

func (b *byObject[K, V]) forget(key K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.entries, key)
}

// attemptKey tells attempts apart by memory that the SDK has for one attempt and
// gives with each GetInfo. Ids would not do: a workflow that is reset, or a test
// environment, uses them again.
//
// Source: WithActivityTask and WithLocalActivityTask in the SDK's
// internal/activity.go make a WorkflowType for each attempt, also of a local
// activity. A standalone activity has none; it has a task token, which comes with
// each poll. (In WorkflowTestSuite the attempts of one activity share their token.)
type attemptKey struct {
	workflowType weak.Pointer[workflow.Type]
	token        weak.Pointer[byte]
}

var attempts byObject[attemptKey, *attempt]

// attemptOf gives the attempt that ctx belongs to: that of the visit around it,
// or the one that the SDK's information leads to. Outside of Temporal, and where
// an interceptor gives information that is made up anew each time, it is a new one
// at each call, which cannot tell a second step from the first.
func attemptOf(ctx context.Context) *attempt {
	if a, ok := ctx.Value(attemptContextKey{}).(*attempt); ok {
		return a
	}
	if !sdk.IsActivity(ctx) {
		return newAttempt(nil)
	}
	info, again := sdk.GetInfo(ctx), sdk.GetInfo(ctx)
	own := ownInfo(&info)
	create := func() *attempt {
		a := newAttempt(own)
		a.execution, a.tested = execution(ctx, own)
		a.countable = true
		return a
	}
	if t := info.WorkflowType; t != nil && t == again.WorkflowType {
		return of(&attempts, t, attemptKey{workflowType: weak.Make(t)}, create)
	}
	if t := info.TaskToken; len(t) > 0 && len(again.TaskToken) > 0 && &t[0] == &again.TaskToken[0] {
		return of(&attempts, &t[0], attemptKey{token: weak.Make(&t[0])}, create)
	}
	a := create()
	a.countable = false
	return a
}

// ownInfo copies what the identity of an attempt hangs on.
func ownInfo(info *sdk.Info) *sdk.Info {
	own := *info
	own.TaskToken = bytes.Clone(info.TaskToken)
	if info.WorkflowType != nil {
		own.WorkflowType = &workflow.Type{Name: info.WorkflowType.Name}
	}
	return &own
}

// execution returns the name of an activity's execution, which all its attempts have
// and, together with [attempt.scheduled], no other execution has; tested says that it
// runs in a test environment of the SDK.
func execution(ctx context.Context, info *sdk.Info) (id string, tested bool) {
	names := []string{info.Namespace, info.WorkflowExecution.ID, info.WorkflowExecution.RunID, info.ActivityID}
	switch {
	case info.WorkflowExecution.ID == "":
		names = []string{info.Namespace, info.ActivityID, info.ActivityRunID}
	case info.IsLocalActivity:
		names = append(names, "local") // these are counted apart
	}
	tested = isTest(ctx)
	if tested {
		names = append(names, environment(ctx))
	}
	return "temporal:" + jsonList(names), tested
}

// jsonList gives a JSON array as most languages write it: package json also escapes
// what has a meaning in HTML.
func jsonList(names []string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(names) // strings always encode
	return strings.TrimSuffix(b.String(), "\n")
}

// mockPackage is where the service of the SDK's test environments comes from.
// Source: newTestWorkflowEnvironmentImpl in internal/internal_workflow_testsuite.go.
const mockPackage = "go.temporal.io/api/workflowservicemock/v1"

// isTest tells whether ctx is of a test environment of the SDK. Local activities
// have no client there.
func isTest(ctx context.Context) bool {
	c := sdk.GetClient(ctx)
	if v := reflect.ValueOf(c); c == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return true
	}
	service := reflect.TypeOf(c.WorkflowService())
	return service != nil && service.Kind() == reflect.Pointer && service.Elem().PkgPath() == mockPackage
}

var (
	environments    byObject[weak.Pointer[byte], string]
	lastEnvironment atomic.Uint64
)

// environment names the test environment of ctx. All of them give their workflows
// and activities the same ids, so that the second test of a process would find its
// work done by the first; each has a channel of its own.
func environment(ctx context.Context) string {
	create := func() string { return fmt.Sprintf("test environment %d", lastEnvironment.Add(1)) }
	p := (*byte)(reflect.ValueOf(sdk.GetWorkerStopChannel(ctx)).UnsafePointer())
	if p == nil {
		return create()
	}
	return of(&environments, p, weak.Make(p), create)
}
