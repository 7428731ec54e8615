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

// origin identifies the work that the commit of the visit belongs to.
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

// process identifies this process. An activity cannot ask for its worker's identity, which by
// default begins like this.
func process() string {
	host, _ := os.Hostname() // a name without a host is valid
	return fmt.Sprintf("%d@%s", os.Getpid(), host)
}

// resultVersion is the first byte of a kept result. What follows is a
// temporal.api.common.v1.Payloads in its wire format, as the data converter has
// made it; nothing for a function without a result.
const resultVersion = 1

// encodeResult returns the stored form of a function's result. Error: ErrResult.
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
		return nil, fmt.Errorf("%w: it is %d bytes, and at most %d are kept; write it into the workspace and return its path", ErrResult, len(kept), archive.MaxResult)
	}
	return kept, nil
}

// decodeResult is the inverse of encodeResult, into *out, which is not changed if the function
// had no result. A result of type any becomes a converter.RawValue, which the SDK passes on.
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

// decodeReplay decodes the result of an already committed step into *out. The error is
// mount.ErrAlreadyCommitted: the step is done, but its result is not available.
func decodeReplay(dc converter.DataConverter, done *mount.CommittedError, out any) error {
	if done.Record.Dropped {
		return done
	}
	if err := decodeResult(dc, done.Record.Result, out); err != nil {
		return fmt.Errorf("%w; its result cannot be read: %w", done, err)
	}
	return nil
}
