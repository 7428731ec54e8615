package activity_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/mount"
)

// commitOne is an activity that commits one line.
func commitOne(b *bench) func(ctx context.Context) (string, error) {
	var runs atomic.Int32
	return func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), adder("x", &runs))
	}
}

func TestFenceIsAskedBeforeTheUploadAndBeforeTheEnd(t *testing.T) {
	b, s := newBench(t), newServer(t)
	_, err := runInWorkflow(t, suiteOptions{activity: func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
			sdk.RecordHeartbeat(ctx, "mine")
			return "", add(m, "x")
		})
	}})
	require.NoError(t, err)
	asked := s.questions()
	require.Len(t, asked, 2)
	for _, q := range asked {
		require.NotEmpty(t, q.TaskToken)
		require.Len(t, q.Details, 1)
		require.Equal(t, "default-test-namespace", q.Namespace)
		require.Equal(t, "default-test-workflow-id", q.WorkflowID)
		require.Equal(t, "act", q.ActivityType)
	}
}

func TestFenceThatSaysNo(t *testing.T) {
	answers := map[string]error{
		"replaced":  serviceerror.NewNotFound("no such attempt"),
		"cancelled": temporal.NewCanceledError(),
		"paused":    sdk.ErrActivityPaused,
		"reset":     sdk.ErrActivityReset,
		"refused":   serviceerror.NewPermissionDenied("no", ""),
	}
	for name, answer := range answers {
		for _, at := range []string{"first", "second"} {
			t.Run(name+", "+at+" question", func(t *testing.T) {
				b := newBench(t)
				list := []error{answer}
				if at == "second" {
					list = []error{nil, answer}
				}
				s := newServer(t, list...)
				_, err := runInWorkflow(t, suiteOptions{activity: commitOne(b)})
				wantType(t, err, errtype.Fenced, true)
				require.ErrorContains(t, err, answer.Error())
				require.Len(t, s.questions(), len(list))
				b.noMounts()
				b.wantNoArchive("ws")
			})
		}
	}
}

func TestFenceIsAskedAgainWhileTheServerIsAway(t *testing.T) {
	b := newBench(t)
	s := newServer(t, serviceerror.NewUnavailable("away"), context.DeadlineExceeded, serviceerror.NewResourceExhausted(0, "busy"))
	_, err := runInWorkflow(t, suiteOptions{activity: commitOne(b)})
	require.NoError(t, err)
	require.Len(t, s.questions(), 5)
	b.wantStored("ws", "lines", "x\n")
}

// The server is away until the time of the commit is over.
func TestFenceWithoutAnAnswer(t *testing.T) {
	b, s := newBench(t), newServer(t)
	for range 1000 {
		s.answers = append(s.answers, serviceerror.NewUnavailable("away"))
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s.onAsk = func(n int) {
		if n == 3 {
			cancel(errWork)
		}
	}
	_, err := run(t, ctx, commitOne(b))
	wantType(t, err, errtype.Fenced, true)
	require.ErrorContains(t, err, errWork.Error())
	b.noMounts()
	b.wantNoArchive("ws")
}

// Every mount of the attempt loses the right to commit with the first that is told.
func TestLossEndsAllMountsOfTheAttempt(t *testing.T) {
	b := newBench(t)
	newServer(t, serviceerror.NewNotFound("no such attempt"))
	_, err := run(t, context.Background(), func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("outer"), b.options(), func(ctx context.Context, outer *mount.Mount) (string, error) {
			if err := add(outer, "outer"); err != nil {
				return "", err
			}
			_, err := wdactivity.Do(ctx, b.url("inner"), b.options(), func(_ context.Context, inner *mount.Mount) (string, error) {
				return "", add(inner, "inner")
			})
			if !errors.Is(err, wdactivity.ErrFenced) {
				return "", err
			}
			<-ctx.Done()
			var notFound *serviceerror.NotFound
			if !errors.As(context.Cause(ctx), &notFound) {
				return "", context.Cause(ctx)
			}
			for os.WriteFile(outer.Path("late"), nil, 0o644) == nil {
			}
			return "", nil // as if it had not seen the end
		})
	})
	wantType(t, err, errtype.Fenced, true)
	b.noMounts()
	b.wantNoArchive("outer")
	b.wantNoArchive("inner")
}

// The SDK reports an activity as cancelled if its error is of the cancellation.
func TestEndsOfTheContext(t *testing.T) {
	tests := []struct {
		name  string
		cause error
		want  func(error) bool
	}{
		{"cancelled", temporal.NewCanceledError(), temporal.IsCanceledError},
		{"paused", sdk.ErrActivityPaused, nil},
		{"reset", sdk.ErrActivityReset, nil},
		{"replaced", serviceerror.NewNotFound("no such attempt"), nil},
		{"worker stops", worker.ErrWorkerShutdown, nil},
	}
	for _, test := range tests {
		for _, moment := range []string{"before the open", "before the mark", "after the mark"} {
			t.Run(test.name+" "+moment, func(t *testing.T) {
				b := newBench(t)
				ctx, cancel := context.WithCancelCause(context.Background())
				if moment == "before the open" {
					cancel(test.cause)
				}
				_, err := run(t, ctx, func(ctx context.Context) (string, error) {
					return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
						if moment == "before the mark" {
							cancel(test.cause)
							<-ctx.Done()
							for m.Commit() == nil { // it is revoked at any moment
							}
							return "", m.Commit()
						}
						err := add(m, "x")
						cancel(test.cause)
						<-ctx.Done()
						return "", err
					})
				})
				b.noMounts()
				b.wantNoArchive("ws")
				if test.want != nil {
					require.True(t, test.want(err), "%v", err)
					return
				}
				wantType(t, err, errtype.Fenced, true)
				require.ErrorContains(t, err, test.cause.Error())
			})
		}
	}
}

// An activity that was cancelled and left something behind was reported as failed.
func TestCancelledAndBusy(t *testing.T) {
	b := newBench(t)
	opts := b.options()
	opts.Grace = wdactivity.Duration(time.Millisecond)
	ctx, cancel := context.WithCancelCause(context.Background())
	var left *os.File
	var mounted *mount.Mount
	_, err := run(t, ctx, func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), opts, func(ctx context.Context, m *mount.Mount) (string, error) {
			if err := write(m, "f", "new"); err != nil {
				return "", err
			}
			var err error
			mounted = m
			left, err = os.Open(m.Path("f"))
			cancel(temporal.NewCanceledError())
			<-ctx.Done()
			return "", err
		})
	})
	require.True(t, temporal.IsCanceledError(err), "%v", err)
	require.NoError(t, left.Close())
	b.wantNoArchive("ws")
	<-mounted.Done()
}

// An activity that took no notice of a mark that was refused, since its mount had been revoked,
// was reported as done, with nothing stored.
func TestEndBeforeCommit(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	_, err := run(t, ctx, func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
			if err := write(m, "f", "new"); err != nil {
				return "", err
			}
			cancel(worker.ErrWorkerShutdown)
			<-ctx.Done()
			for !m.Abandoned() { // it is revoked at any moment
				runtime.Gosched()
			}
			_ = m.Commit()
			return "result", nil
		})
	})
	require.ErrorContains(t, err, "commit")
	b.wantNoArchive("ws")
}

// An activity with AutoCommit that goes on after its end and returns no error was
// reported as done, with nothing stored: the mark was still to come when the mount
// was revoked.
func TestEndBeforeAutoCommit(t *testing.T) {
	for _, abandoned := range []bool{false, true} {
		t.Run(fmt.Sprintf("abandoned=%v", abandoned), func(t *testing.T) {
			b := newBench(t)
			opts := b.options()
			opts.AutoCommit = true
			ctx, cancel := context.WithCancelCause(context.Background())
			_, err := run(t, ctx, func(ctx context.Context) (string, error) {
				return wdactivity.Do(ctx, b.url("ws"), opts, func(ctx context.Context, m *mount.Mount) (string, error) {
					if err := write(m, "f", "new"); err != nil {
						return "", err
					}
					if abandoned {
						m.Abandon()
					}
					cancel(worker.ErrWorkerShutdown)
					<-ctx.Done()
					for write(m, "late", "new") == nil { // it is revoked at any moment
					}
					return "result", nil // as if it had not seen the end
				})
			})
			b.noMounts()
			b.wantNoArchive("ws")
			if abandoned {
				require.NoError(t, err)
				return
			}
			wantType(t, err, errtype.Fenced, true)
		})
	}
}

// The log of a commit cut off by the end of the worker names the option to set.
func TestWorkerStopTimeoutIsNamed(t *testing.T) {
	b := newBench(t)
	var text strings.Builder // written under the handler's lock, and read when the activity is over
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(&text, nil))))
	env := suite.NewTestActivityEnvironment()
	ctx, cancel := context.WithCancelCause(context.Background())
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx, Plugins: plugins(t, nil)})
	env.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
			err := add(m, "x")
			cancel(worker.ErrWorkerShutdown)
			<-ctx.Done()
			return "", err
		})
	}, sdk.RegisterOptions{Name: "act"})
	_, err := env.ExecuteActivity("act")
	wantType(t, err, errtype.Fenced, true)
	require.Contains(t, text.String(), "WorkerStopTimeout")
}

func TestErrorsMatchInTheProcess(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	_, err := direct(t, ctx, func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(_ context.Context, m *mount.Mount) (string, error) {
			err := add(m, "x")
			cancel(errWork)
			return "", err
		})
	})
	require.ErrorIs(t, err, wdactivity.ErrFenced)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, errWork)
	wantType(t, err, errtype.Fenced, true)
}

// A deadline that the caller of Do sets is its own affair: the activity goes on.
func TestDeadlineOfTheCaller(t *testing.T) {
	b, heard := newBench(t), newBeats()
	_, err := runInWorkflow(t, suiteOptions{heartbeat: beat, listener: heard.listen, activity: func(ctx context.Context) (string, error) {
		short, cancel := context.WithCancel(ctx)
		_, err := wdactivity.Do(short, b.url("a"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
			err := add(m, "x")
			heard.wait(1)
			cancel()
			<-ctx.Done()
			return "", err
		})
		if !errors.Is(err, wdactivity.ErrFenced) {
			return "", err
		}
		_, err = wdactivity.Do(ctx, b.url("b"), b.options(), func(_ context.Context, m *mount.Mount) (string, error) {
			heard.wait(3) // the SDK has not taken the end of a heartbeat's context for the activity's
			return "", add(m, "x")
		})
		return "", err
	}})
	require.NoError(t, err)
	b.wantNoArchive("a")
	b.wantStored("b", "lines", "x\n")
}
