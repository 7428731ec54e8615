package activity

import (
	"errors"
	"fmt"
	"os"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"

	"github.com/workdir/workdir/activity/internal/template"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
)

// origin says whose work the commit of the visit is.
func (v *visit) origin() archive.Origin {
	i := &v.attempt.info
	o := archive.Origin{
		Attempt:      i.Attempt,
		Namespace:    i.Namespace,
		WorkflowID:   i.WorkflowExecution.ID,
		RunID:        i.WorkflowExecution.RunID,
		WorkflowType: template.WorkflowType(i),
		ActivityID:   i.ActivityID,
		ActivityType: i.ActivityType.Name,
		TaskQueue:    i.TaskQueue,
		Worker:       process(),
	}
	if o.WorkflowID == "" {
		o.RunID = i.ActivityRunID
	}
	if v.step != "" {
		o.Execution, o.Scheduled, o.Step = v.attempt.execution, v.attempt.scheduled(), v.step
	}
	return o
}

// process names this process. An activity cannot ask for its worker's identity, which
// begins like this by default.
func process() string {
	host, _ := os.Hostname() // a name without a host is one
	return fmt.Sprintf("%d@%s", os.Getpid(), host)
}

// resultVersion is the first byte of a kept result. What follows is a
// temporal.api.common.v1.Payloads in its wire format, as the data converter has
// made it; nothing for a function without a result.
const resultVersion = 1

// encodeResult returns what is kept of a function's result. ErrResult.
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
// as it is where the function had no result. A result of any type becomes a
// converter.RawValue, which the SDK hands on.
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
	p, untyped := out.(*any)
	if !untyped {
		return dc.FromPayloads(&payloads, out)
	}
	var raw converter.RawValue
	err := dc.FromPayloads(&payloads, &raw)
	if raw.Payload() != nil {
		*p = raw
	}
	return err
}

// decodeReplay decodes the result of a step that is committed already into what
// out points to. The error is mount.ErrAlreadyCommitted: the step is done, and its
// result cannot be had.
func decodeReplay(dc converter.DataConverter, done *mount.CommittedError, out any) error {
	if done.Record.Dropped {
		return done
	}
	if err := decodeResult(dc, done.Record.Result, out); err != nil {
		return fmt.Errorf("%w; its result cannot be read: %w", done, err)
	}
	return nil
}
