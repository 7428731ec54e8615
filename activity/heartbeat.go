package activity

import (
	"context"
	"log/slog"
	"sync"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
)

// pulse sends heartbeats for an attempt while it has visits.
type pulse struct {
	stop, done chan struct{}
}

// startPulse begins to send heartbeats, at a third of the timeout; the SDK sends
// on what it gets at 80 % of it. ctx must not end before the activity does: the
// SDK goes on using it for heartbeats that it puts off, and takes its end for the
// end of the activity (temporalInvoker.Heartbeat).
func (a *attempt) startPulse(ctx context.Context) *pulse {
	p := &pulse{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		ticker := time.NewTicker(max(a.info.HeartbeatTimeout/3, time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				if a.healthy() {
					a.memory.resend(ctx)
				}
			case <-p.stop:
				return
			}
		}
	}()
	return p
}

// end stops the heartbeats and waits for one that is on its way.
func (p *pulse) end() {
	close(p.stop)
	<-p.done
}

// healthy reports whether the attempt is worth being kept alive: nobody has taken
// its place, the activity's context lives, and no mount of it has lost its server
// process. The end of a context that the activity made for a part of its work is the
// end of that part. A server that hangs counts as lost within seconds, since mount kills one that does
// not answer; so nobody needs to be asked here. Where it is not, Temporal finds out
// by the timeout, unless the activity ends before or sends heartbeats itself.
func (a *attempt) healthy() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lost != nil {
		return false
	}
	for v := range a.visits {
		if a.endedBy(v.ctx) || v.mountLost() {
			return false
		}
	}
	return true
}

// memory is the last details that the activity sent: a heartbeat without details
// erases those of the one before.
type memory struct {
	mu      sync.Mutex // held while a heartbeat is sent, so that none overtakes a later one
	loaded  bool       // guarded by mu
	unknown bool       // guarded by mu; there are details, and they cannot be had
	details []any      // guarded by mu; what to send
}

// manyDetails is how many details of the attempt before are asked for at first.
const manyDetails = 8

// load takes over the details of the attempt before, once.
func (m *memory) load(ctx context.Context, log *slog.Logger) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.loaded {
		return
	}
	m.loaded = true
	if !sdk.HasHeartbeatDetails(ctx) {
		return
	}
	for n := manyDetails; ; n *= 4 {
		details, err := previousDetails(ctx, n)
		if len(details) == n {
			continue // there may be more
		}
		m.details = details
		m.unknown = len(details) == 0
		if m.unknown {
			log.Warn("heartbeat details of the attempt before cannot be read as converter.RawValue; no heartbeats are sent until the activity sends one", "cause", err)
		}
		return
	}
}

// previousDetails gives the first n details of the attempt before, undecoded.
func previousDetails(ctx context.Context, n int) ([]any, error) {
	raw := make([]converter.RawValue, n)
	pointers := make([]any, n)
	for i := range raw {
		pointers[i] = &raw[i]
	}
	if err := sdk.GetHeartbeatDetails(ctx, pointers...); err != nil {
		return nil, err
	}
	var details []any
	for _, r := range raw {
		if r.Payload() == nil {
			break
		}
		details = append(details, r)
	}
	return details, nil
}

// resend sends the last details once more, or nothing where they cannot be had.
func (m *memory) resend(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.unknown {
		m.beatLocked(ctx)
	}
}

// last sends a heartbeat of an attempt after which there is none: where its details
// cannot be had, it has none.
func (m *memory) last(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.beatLocked(ctx)
}

func (m *memory) beatLocked(ctx context.Context) {
	sdk.RecordHeartbeat(context.WithValue(ctx, passKey{}, true), m.details...)
}

// send passes on a heartbeat of the activity and remembers its details as they
// are now: the caller may change what they point to. The end of ctx does not end it,
// see startPulse: a visit's context ends before the activity's.
func (m *memory) send(ctx context.Context, dc converter.DataConverter, details []any, next func(context.Context, ...any)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loaded, m.unknown, m.details = true, false, snapshot(dc, details)
	next(context.WithValue(context.WithoutCancel(ctx), passKey{}, true), details...)
}

// snapshot encodes details. It is what the payload converters make of them, before
// any codec: the SDK puts it through the codecs of the worker. Where the converter
// does not know converter.RawValue, they stay what they are.
func snapshot(dc converter.DataConverter, details []any) []any {
	if len(details) == 0 || len(details) == 1 && details[0] == nil {
		return nil // so says the SDK: no progress to report
	}
	encoded, err := dc.ToPayloads(details...)
	if err != nil {
		return details // the SDK says so next
	}
	raw := make([]converter.RawValue, len(details))
	pointers := make([]any, len(details))
	for i := range raw {
		pointers[i] = &raw[i]
	}
	if err := dc.FromPayloads(encoded, pointers...); err != nil {
		return details
	}
	kept := make([]any, len(details))
	for i, r := range raw {
		if r.Payload() == nil {
			return details
		}
		kept[i] = r
	}
	return kept
}

// passKey marks the context of a heartbeat that has been remembered, or is one of
// ours.
type passKey struct{}

// outbound is the SDK's side of an activity, with an ear for heartbeats.
type outbound struct {
	interceptor.ActivityOutboundInterceptorBase
	attempt   *attempt                // nil: the one that the heartbeat's context belongs to
	converter converter.DataConverter // nil: that of the heartbeat's context
}

// listen gives next with an ear for heartbeats, of all activities if a is nil.
func listen(next interceptor.ActivityOutboundInterceptor, a *attempt, dc converter.DataConverter) *outbound {
	o := &outbound{attempt: a, converter: dc}
	o.Next = next
	return o
}

func (o *outbound) RecordHeartbeat(ctx context.Context, details ...any) {
	if ctx.Value(passKey{}) != nil {
		o.Next.RecordHeartbeat(ctx, details...)
		return
	}
	a := o.attempt
	if a == nil {
		a = attemptOf(ctx)
	}
	a.memory.send(ctx, converterOf(ctx, o.converter), details, o.Next.RecordHeartbeat)
}

// Keys of what a visit's context has.
type (
	attemptContextKey   struct{}
	workspaceContextKey struct{}
	visitContextKey     struct{}
)

// visitContext is the context of a function in a workspace: it knows the mount,
// and whoever records a heartbeat with it is heard.
type visitContext struct {
	context.Context
	visit *visit // with a mount
}

// Value gives what a visit adds to its context.
func (c *visitContext) Value(key any) any {
	switch key {
	case attemptContextKey{}:
		return c.visit.attempt
	case workspaceContextKey{}:
		return c.visit.mount
	case visitContextKey{}:
		return c.visit
	}
	value := c.Context.Value(key)
	if next, ok := value.(interceptor.ActivityOutboundInterceptor); ok && key == outboundKey {
		return listen(next, c.visit.attempt, c.visit.converter)
	}
	return value
}

// outboundKey is the key under which the SDK looks for an activity's outbound
// interceptor. It is not exported, so the SDK is asked for it once. Source:
// IsActivity in internal/activity.go.
var outboundKey = func() any {
	c := &keyContext{Context: context.Background()}
	sdk.IsActivity(c)
	return c.asked
}()

// keyContext remembers what it was asked for.
type keyContext struct {
	context.Context
	asked any
}

func (c *keyContext) Value(key any) any {
	c.asked = key
	return nil
}
