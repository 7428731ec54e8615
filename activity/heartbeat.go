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

// startPulse begins to send heartbeats, at a third of the timeout; the SDK forwards
// them at 80 % of it.
func (a *attempt) startPulse() *pulse {
	p := &pulse{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		ticker := time.NewTicker(max(a.info.HeartbeatTimeout/3, time.Millisecond))
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				if a.healthy() {
					a.resend(false)
				}
			case <-p.stop:
				return
			}
		}
	}()
	return p
}

// end stops the heartbeats and waits for one in flight.
func (p *pulse) end() {
	close(p.stop)
	<-p.done
}

// details are the latest heartbeat details of the activity: a heartbeat without details would
// erase them.
type details struct {
	mu      sync.Mutex // held while a heartbeat is sent, so that none overtakes a later one
	loaded  bool       // guarded by mu
	unknown bool       // guarded by mu; there are details, but they cannot be read
	list    []any      // guarded by mu; what to send
}

// manyDetails is how many details of the previous attempt are requested at first.
const manyDetails = 8

// load takes over the details of the previous attempt, once.
func (d *details) load(ctx context.Context, log *slog.Logger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.loaded {
		return
	}
	d.loaded = true
	if !sdk.HasHeartbeatDetails(ctx) {
		return
	}
	for n := manyDetails; ; n *= 4 {
		list, err := previousDetails(ctx, n)
		if len(list) == n {
			continue // there may be more
		}
		d.list = list
		d.unknown = len(list) == 0
		if d.unknown {
			log.Warn("heartbeat details of the previous attempt cannot be read as converter.RawValue; no heartbeats are sent until the activity sends one", "cause", err)
		}
		return
	}
}

// previousDetails returns the first n details of the previous attempt, undecoded.
func previousDetails(ctx context.Context, n int) ([]any, error) {
	raw, pointers := rawValues(n)
	if err := sdk.GetHeartbeatDetails(ctx, pointers...); err != nil {
		return nil, err
	}
	var list []any
	for _, r := range raw {
		if r.Payload() == nil {
			break
		}
		list = append(list, r)
	}
	return list, nil
}

// rawValues returns n values that decode to their payloads, and pointers to them.
func rawValues(n int) (raw []converter.RawValue, pointers []any) {
	raw, pointers = make([]converter.RawValue, n), make([]any, n)
	for i := range raw {
		pointers[i] = &raw[i]
	}
	return raw, pointers
}

// resend repeats the latest details. If they cannot be read it sends nothing, unless erase
// says that no later attempt can miss them.
//
// The heartbeat's context must not end before the activity does: the SDK keeps using it for
// delayed heartbeats, and takes its end for the end of the activity
// (temporalInvoker.Heartbeat).
func (a *attempt) resend(erase bool) {
	a.details.mu.Lock()
	defer a.details.mu.Unlock()
	if !a.details.unknown || erase {
		a.out.RecordHeartbeat(context.WithoutCancel(a.ctx), a.details.list...)
	}
}

// outbound is the side of an activity towards the SDK; it records the activity's heartbeats.
type outbound struct {
	interceptor.ActivityOutboundInterceptorBase
	attempt *attempt
}

// RecordHeartbeat records a copy of the details, since the caller may modify them, and passes
// the heartbeat on. As in resend the end of ctx does not end it.
func (o *outbound) RecordHeartbeat(ctx context.Context, list ...any) {
	d := &o.attempt.details
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loaded, d.unknown, d.list = true, false, snapshot(o.attempt.contextConverter(ctx), list)
	o.Next.RecordHeartbeat(context.WithoutCancel(ctx), list...)
}

// snapshot encodes details with the payload converters, before any codec: the SDK passes the
// result through the codecs of the worker. If the converter does not support
// converter.RawValue, they are not encoded.
func snapshot(dc converter.DataConverter, list []any) []any {
	if len(list) == 0 || len(list) == 1 && list[0] == nil {
		return nil // as in the SDK: no progress to report
	}
	encoded, err := dc.ToPayloads(list...)
	if err != nil {
		return list // the SDK reports the error next
	}
	raw, pointers := rawValues(len(list))
	if err := dc.FromPayloads(encoded, pointers...); err != nil {
		return list
	}
	kept := make([]any, len(list))
	for i, r := range raw {
		if r.Payload() == nil {
			return list
		}
		kept[i] = r
	}
	return kept
}
