// Package inuse tells a clean-up which workspaces Temporal still has a use for: those that a
// workflow has committed to which is open, or closed and within the retention of its
// namespace, so that it can still be reset. The log of a workspace names those workflows.
package inuse

import (
	"context"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// callPatience bounds one question.
const callPatience = 10 * time.Second

// Server is a Temporal server that is asked. It remembers its answers, so it is for one clean-up.
// It is not for several goroutines at once.
type Server struct {
	service   workflowservice.WorkflowServiceClient
	namespace string
	close     func()
	known     map[work]string // what speaks for keeping its workspaces; "" for nothing
}

// work is a workflow, or a standalone activity.
type work struct{ namespace, workflow, activity string }

// New returns a Server that is asked through service, which client.Client.WorkflowService
// returns. If namespace is not empty, workspaces with work of other namespaces stay, and
// nobody is asked about that work; if it is, the server is asked about all namespaces that
// logs name.
func New(service workflowservice.WorkflowServiceClient, namespace string) *Server {
	return &Server{service: service, namespace: namespace, close: func() {}, known: map[work]string{}}
}

// Dial is New for the server at an address, host and port, without TLS. The caller calls Close.
func Dial(ctx context.Context, address, namespace string) (*Server, error) {
	c, err := client.DialContext(ctx, client.Options{HostPort: address, Namespace: namespace, Logger: silent{}})
	if err != nil {
		return nil, fmt.Errorf("temporal at %s: %w", address, err)
	}
	s := New(c.WorkflowService(), namespace)
	s.close = c.Close
	return s, nil
}

// Close ends the connection that Dial has made.
func (s *Server) Close() { s.close() }

// Spare is store.PruneOptions.Spare: it returns why the workspace stays, or "". After an error
// nobody knows. The log has the last 1,001 commits, and only those are considered.
func (s *Server) Spare(ctx context.Context, u *store.Usage) (why string, err error) {
	log, err := readLog(ctx, u)
	if err != nil {
		return "", err
	}
	for r := range log.All() {
		if why, err = s.ofCommit(ctx, &r.Origin); why != "" || err != nil {
			return why, err
		}
	}
	return "", nil
}

// readLog reads the log of a workspace, or that of its newest version where it is gone.
func readLog(ctx context.Context, u *store.Usage) (*archive.Log, error) {
	st, err := store.OpenBucket(ctx, u.URL)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	at := u.URL
	if u.Gone {
		at.Commit = u.Versions[0].ID
	}
	o, err := at.OpenArchive(ctx, st, store.LogTail)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return archive.ReadLog(o, o.Info().Size)
}

// ofCommit returns why the workspace of a commit stays.
func (s *Server) ofCommit(ctx context.Context, o *archive.Origin) (string, error) {
	w := work{o.Namespace, o.WorkflowID, ""}
	if w.workflow == "" {
		w.activity = o.ActivityID
	}
	if w.namespace == "" || w.workflow == "" && w.activity == "" {
		return "", nil // no work of Temporal's
	}
	if s.namespace != "" && w.namespace != s.namespace {
		return fmt.Sprintf("it has work of the namespace %q, which is not asked about", w.namespace), nil
	}
	why, known := s.known[w]
	if known {
		return why, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	var err error
	if w.workflow != "" {
		why, err = s.ofWorkflow(ctx, w)
	} else {
		why, err = s.ofActivity(ctx, w)
	}
	if notFound := (*serviceerror.NotFound)(nil); errors.As(err, &notFound) {
		why, err = "", nil // it never was, or its retention has ended
	}
	if err != nil {
		return "", fmt.Errorf("ask Temporal about %q in the namespace %q: %w", w.workflow+w.activity, w.namespace, err)
	}
	s.known[w] = why
	return why, nil
}

func (s *Server) ofWorkflow(ctx context.Context, w work) (string, error) {
	d, err := s.service.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{
		Namespace: w.namespace, Execution: &commonpb.WorkflowExecution{WorkflowId: w.workflow},
	})
	if err != nil {
		return "", err
	}
	info := d.GetWorkflowExecutionInfo()
	if info.GetCloseTime() == nil {
		return fmt.Sprintf("its workflow %q is open", w.workflow), nil
	}
	return fmt.Sprintf("its workflow %q, closed at %s, is within retention", w.workflow, info.GetCloseTime().AsTime().Format(time.RFC3339)), nil
}

func (s *Server) ofActivity(ctx context.Context, w work) (string, error) {
	d, err := s.service.DescribeActivityExecution(ctx, &workflowservice.DescribeActivityExecutionRequest{Namespace: w.namespace, ActivityId: w.activity})
	if err != nil {
		return "", err
	}
	if d.GetInfo().GetStatus() == enumspb.ACTIVITY_EXECUTION_STATUS_RUNNING {
		return fmt.Sprintf("its activity %q is open", w.activity), nil
	}
	return fmt.Sprintf("its activity %q is within retention", w.activity), nil
}

// silent is a log without a reader: what goes wrong is returned.
type silent struct{}

var _ log.Logger = silent{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
