package inuse

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	activitypb "go.temporal.io/api/activity/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// server answers about work by its id: "open", "closed", "away"; anything else is not there.
type server struct {
	workflowservice.WorkflowServiceClient // nothing else is asked
	asked                                 int
}

func (s *server) DescribeWorkflowExecution(_ context.Context, req *workflowservice.DescribeWorkflowExecutionRequest, _ ...grpc.CallOption) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	s.asked++
	info := &workflowpb.WorkflowExecutionInfo{}
	switch req.Execution.WorkflowId {
	case "open":
	case "closed":
		info.CloseTime = timestamppb.New(time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC))
	case "away":
		return nil, serviceerror.NewUnavailable("away")
	default:
		return nil, serviceerror.NewNotFound("no such workflow")
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info}, nil
}

func (s *server) DescribeActivityExecution(_ context.Context, req *workflowservice.DescribeActivityExecutionRequest, _ ...grpc.CallOption) (*workflowservice.DescribeActivityExecutionResponse, error) {
	s.asked++
	status := enumspb.ACTIVITY_EXECUTION_STATUS_COMPLETED
	switch req.ActivityId {
	case "open":
		status = enumspb.ACTIVITY_EXECUTION_STATUS_RUNNING
	case "closed":
	default:
		return nil, serviceerror.NewNotFound("no such activity")
	}
	return &workflowservice.DescribeActivityExecutionResponse{Info: &activitypb.ActivityExecutionInfo{Status: status}}, nil
}

// commit adds a file to a workspace, as the work of an origin.
func commit(t *testing.T, url, file string, origin archive.Origin) {
	t.Helper()
	m, err := mount.Open(t.Context(), url, &mount.Options{Plain: true, Origin: origin, Keep: store.Keep{Last: 9}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(m.Path(file), nil, 0o644), m.Commit()); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What every workflow and activity in a log is to Temporal decides; each is asked about once.
func TestSpare(t *testing.T) {
	t.Cleanup(func() { _ = mount.Stop(context.Background()) })
	workflow := func(id string) archive.Origin { return archive.Origin{Namespace: "ns", WorkflowID: id} }
	activity := func(id string) archive.Origin { return archive.Origin{Namespace: "ns", ActivityID: id} }
	type O = []archive.Origin
	tests := []struct {
		name  string
		by    O
		only  string // namespace
		why   string // part of it; "" where it goes
		err   string
		asked int
	}{
		{"nobody of Temporal's", O{{}}, "", "", "", 0},
		{"forgotten", O{workflow("old"), workflow("older"), workflow("old")}, "", "", "", 2},
		{"open", O{workflow("open"), workflow("old")}, "", `workflow "open" is open`, "", 2},
		{"within retention", O{workflow("closed")}, "", "closed at 2026-05-17T12:00:00Z, is within retention", "", 1},
		{"nobody knows", O{workflow("open"), workflow("away")}, "", "", `ask Temporal about "away"`, 1},
		{"of another namespace", O{workflow("old")}, "other", `namespace "ns", which is not asked about`, "", 0},
		{"of the namespace", O{workflow("old")}, "ns", "", "", 1},
		{"a standalone activity, open", O{activity("open")}, "", `activity "open" is open`, "", 1},
		{"a standalone activity, closed", O{activity("closed")}, "", "within retention", "", 1},
		{"a standalone activity, forgotten", O{activity("old")}, "", "", "", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := "file://" + t.TempDir()
			for i, o := range test.by {
				commit(t, dir+"/ws", string(rune('a'+i)), o)
			}
			found, err := store.UsageOf(t.Context(), dir, false)
			if err != nil || len(found) != 1 {
				t.Fatalf("%d workspaces, %v", len(found), err)
			}
			answers := &server{}
			s := New(answers, test.only)
			for range 2 {
				why, err := s.Spare(t.Context(), &found[0])
				if (test.why == "") != (why == "") || !strings.Contains(why, test.why) {
					t.Errorf("why: %q, want %q", why, test.why)
				}
				if (test.err == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want %q", err, test.err)
				}
				if test.err != "" {
					break
				}
			}
			if answers.asked != test.asked {
				t.Errorf("%d questions, want %d", answers.asked, test.asked)
			}
		})
	}
}

// The versions of a workspace that is gone belong to those who are in the newest one's log.
func TestSpareWhatIsGone(t *testing.T) {
	t.Cleanup(func() { _ = mount.Stop(context.Background()) })
	dir := "file://" + t.TempDir()
	commit(t, dir+"/ws", "a", archive.Origin{Namespace: "ns", WorkflowID: "open"})
	commit(t, dir+"/ws", "b", archive.Origin{})
	if _, err := store.Delete(t.Context(), dir+"/ws"); err != nil {
		t.Fatal(err)
	}
	pruned, err := store.Prune(t.Context(), dir, &store.PruneOptions{OlderThan: 1, Spare: New(&server{}, "").Spare})
	if err != nil || len(pruned) != 1 || pruned[0].Removed || !strings.Contains(pruned[0].Why, "is open") {
		t.Errorf("%+v, %v", pruned, err)
	}
}
