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

// end stops the heartbeats and waits for one that is on its way.
func (p *pulse) end() {
	close(p.stop)
	<-p.done
}

// details are the last heartbeat details that the activity sent: a heartbeat without
// details erases those of the one before.
type details struct {
	mu      sync.Mutex // held while a heartbeat is sent, so that none overtakes a later one
	loaded  bool       // guarded by mu
	unknown bool       // guarded by mu; there are details, and they cannot be read
	list    []any      // guarded by mu; what to send
}

// manyDetails is how many details of the attempt before are asked for at first.
const manyDetails = 8

// load takes over the details of the attempt before, once.
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
			log.Warn("heartbeat details of the attempt before cannot be read as converter.RawValue; no heartbeats are sent until the activity sends one", "cause", err)
		}
		return
	}
}

// previousDetails returns the first n details of the attempt before, undecoded.
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

// rawValues returns n values that are decoded to their payloads, and pointers to them.
func rawValues(n int) (raw []converter.RawValue, pointers []any) {
	raw, pointers = make([]converter.RawValue, n), make([]any, n)
	for i := range raw {
		pointers[i] = &raw[i]
	}
	return raw, pointers
}

// resend sends the last details once more. Where they cannot be read it sends nothing,
// unless erase says that there is no attempt after this one to miss them.
//
// The heartbeat's context must not end before the activity does: the SDK goes on using
// it for heartbeats that it puts off, and takes its end for the end of the activity
// (temporalInvoker.Heartbeat).
func (a *attempt) resend(erase bool) {
	a.details.mu.Lock()
	defer a.details.mu.Unlock()
	if !a.details.unknown || erase {
		a.out.RecordHeartbeat(context.WithoutCancel(a.ctx), a.details.list...)
	}
}

// outbound is the SDK's side of an activity, and hears the activity's heartbeats.
type outbound struct {
	interceptor.ActivityOutboundInterceptorBase
	attempt *attempt
}

// RecordHeartbeat remembers the details as they are now, since the caller may change
// what they point to, and passes the heartbeat on. As in resend the end of ctx does not
// end it.
func (o *outbound) RecordHeartbeat(ctx context.Context, list ...any) {
	d := &o.attempt.details
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loaded, d.unknown, d.list = true, false, snapshot(o.attempt.contextConverter(ctx), list)
	o.Next.RecordHeartbeat(context.WithoutCancel(ctx), list...)
}

// snapshot encodes details. It is what the payload converters make of them, before
// any codec: the SDK puts it through the codecs of the worker. Where the converter
// does not know converter.RawValue, they stay what they are.
func snapshot(dc converter.DataConverter, list []any) []any {
	if len(list) == 0 || len(list) == 1 && list[0] == nil {
		return nil // so says the SDK: no progress to report
	}
	encoded, err := dc.ToPayloads(list...)
	if err != nil {
		return list // the SDK says so next
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
