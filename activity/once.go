package activity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
)

// origin tells whose work the commit of a step is.
func (a *attempt) origin(step string) archive.Origin {
	if a.info == nil {
		return archive.Origin{}
	}
	i := a.info
	o := archive.Origin{
		Attempt:      i.Attempt,
		Namespace:    i.Namespace,
		WorkflowID:   i.WorkflowExecution.ID,
		RunID:        i.WorkflowExecution.RunID,
		WorkflowType: workflowType(i),
		ActivityID:   i.ActivityID,
		ActivityType: i.ActivityType.Name,
		TaskQueue:    i.TaskQueue,
		Worker:       process(),
	}
	if o.WorkflowID == "" {
		o.RunID = i.ActivityRunID
	}
	if step != "" {
		o.Execution, o.Scheduled, o.Step = a.execution, a.scheduled(), step
	}
	return o
}

// scheduled is when the execution was scheduled, the same for all its attempts: a
// workflow may use an activity id again once the activity has closed. The ids of
// local and of standalone activities are never used again.
func (a *attempt) scheduled() time.Time {
	if a.info.IsLocalActivity || a.info.WorkflowExecution.ID == "" {
		return time.Time{}
	}
	return a.info.ScheduledTime
}

// process names this process. The identity that a worker has for Temporal is not to
// be had in an activity; by default it begins like this.
func process() string {
	host, _ := os.Hostname() // a name without a host is one
	return fmt.Sprintf("%d@%s", os.Getpid(), host)
}

// resultVersion is the first byte of a kept result. What follows is a
// temporal.api.common.v1.Payloads in its wire format, as the data converter has
// made it; nothing for a function without a result.
const resultVersion = 1

// encodeResult gives what is kept of a function's result. ErrResult.
func encodeResult(dc converter.DataConverter, out any) ([]byte, error) {
	kept := []byte{resultVersion}
	if out == nil {
		return kept, nil
	}
	payloads, err := dc.ToPayloads(out)
	if err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	encoded, err := payloads.Marshal()
	if err != nil {
		return nil, fmt.Errorf("encode the result: %w", err)
	}
	if kept = append(kept, encoded...); len(kept) > archive.MaxResult {
		return nil, fmt.Errorf("%w: it is %d bytes, and at most %d are kept; put it into the workspace and return where it is", ErrResult, len(kept), archive.MaxResult)
	}
	return kept, nil
}

// decodeResult is the reverse of encodeResult, into what out points to, which stays
// as it is where the function had no result.
func decodeResult(dc converter.DataConverter, kept []byte, out any) error {
	switch {
	case len(kept) == 0:
		return errors.New("none was kept")
	case kept[0] != resultVersion:
		return fmt.Errorf("it has version %d, and this program reads %d", kept[0], resultVersion)
	case len(kept) == 1:
		return nil
	}
	var payloads commonpb.Payloads
	if err := payloads.Unmarshal(kept[1:]); err != nil {
		return err
	}
	return dc.FromPayloads(&payloads, out)
}

// decodeReplay decodes the result of a step that is committed already into what
// out points to. The error is mount.ErrAlreadyCommitted: the step is done, and what
// it gave is not to be had.
func decodeReplay(dc converter.DataConverter, done *mount.CommittedError, out any) error {
	if done.Record.Dropped {
		return done
	}
	if err := decodeResult(dc, done.Record.Result, out); err != nil {
		return fmt.Errorf("%w; its result cannot be read: %w", done, err)
	}
	return nil
}

// resultConverter is the data converter as the SDK would use it for this activity.
func (a *attempt) resultConverter(ctx context.Context, dc converter.DataConverter) converter.DataConverter {
	if c, ok := dc.(interface {
		WithContext(context.Context) converter.DataConverter
	}); ok {
		dc = c.WithContext(ctx)
	}
	if a.info == nil {
		return dc
	}
	return converter.WithDataConverterSerializationContext(dc, serialization(a.info))
}

func serialization(i *sdk.Info) converter.ActivitySerializationContext {
	return converter.ActivitySerializationContext{
		Namespace:    i.Namespace,
		WorkflowID:   i.WorkflowExecution.ID,
		WorkflowType: workflowType(i),
		ActivityType: i.ActivityType.Name,
		TaskQueue:    i.TaskQueue,
		IsLocal:      i.IsLocalActivity,
	}
}
