package activity_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

func TestDo(t *testing.T) {
	tests := []struct {
		name    string
		auto    bool
		work    func(ctx context.Context, m *mount.Mount) error
		want    string // stored content of the file "f"; "" if nothing is to be stored
		wantErr string // "" for none
	}{
		{
			name: "commit",
			work: func(_ context.Context, m *mount.Mount) error { return errors.Join(write(m, "f", "new"), m.Commit()) },
			want: "new",
		},
		{
			name: "no mark",
			work: func(_ context.Context, m *mount.Mount) error { return write(m, "f", "new") },
		},
		{
			name: "auto commit",
			auto: true,
			work: func(_ context.Context, m *mount.Mount) error { return write(m, "f", "new") },
			want: "new",
		},
		{
			name: "auto commit of an abandoned mount",
			auto: true,
			work: func(_ context.Context, m *mount.Mount) error { m.Abandon(); return write(m, "f", "new") },
		},
		{
			name: "error after the mark",
			auto: true,
			work: func(_ context.Context, m *mount.Mount) error {
				return errors.Join(write(m, "f", "new"), m.Commit(), errWork)
			},
			wantErr: errWork.Error(),
		},
		{
			name: "panic after the mark",
			auto: true,
			work: func(_ context.Context, m *mount.Mount) error {
				if err := errors.Join(write(m, "f", "new"), m.Commit()); err != nil {
					return err
				}
				panic("the work panicked")
			},
			wantErr: "the work panicked",
		},
		{
			name: "handle in the context",
			work: func(ctx context.Context, m *mount.Mount) error {
				if got, ok := wdactivity.Workspace(ctx); !ok || got != m {
					return fmt.Errorf("workspace of the context is %v, %v", got, ok)
				}
				return nil
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			opts := b.options()
			opts.AutoCommit = test.auto
			out, err := run(t, context.Background(), func(ctx context.Context) (string, error) {
				return wdactivity.Do(ctx, b.url("ws"), opts, func(ctx context.Context, m *mount.Mount) (string, error) {
					return "result", test.work(ctx, m)
				})
			})
			if test.wantErr == "" {
				require.NoError(t, err)
				require.Equal(t, "result", out)
			} else {
				require.ErrorContains(t, err, test.wantErr)
			}
			b.noMounts()
			if test.want == "" {
				b.wantNoArchive("ws")
			} else {
				b.wantStored("ws", "f", test.want)
			}
		})
	}
}

// The SDK compares ErrResultPending by identity.
func TestResultPendingIsNotWrappedAndNotCommitted(t *testing.T) {
	b := newBench(t)
	_, err := direct(t, context.Background(), func(ctx context.Context) (int, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(_ context.Context, m *mount.Mount) (int, error) {
			if err := errors.Join(write(m, "f", "new"), m.Commit()); err != nil {
				return 0, err
			}
			return 0, sdk.ErrResultPending
		})
	})
	if err != sdk.ErrResultPending {
		t.Fatalf("error is %v, want activity.ErrResultPending itself", err)
	}
	b.wantNoArchive("ws")
}

// Work that was marked and is not stored is told as a warning.
func TestResultPendingWithAMarkIsAWarning(t *testing.T) {
	tests := []struct {
		name string
		auto bool
		work func(*mount.Mount) error
		want bool
	}{
		{"marked", false, (*mount.Mount).Commit, true},
		{"auto commit", true, func(*mount.Mount) error { return nil }, true},
		{"auto commit, abandoned", true, func(m *mount.Mount) error { m.Abandon(); return nil }, false},
		{"not marked", false, func(*mount.Mount) error { return nil }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			var text bytes.Buffer // written under the handler's lock, and read when the activity is over
			opts := b.options()
			opts.AutoCommit = test.auto
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(log.NewStructuredLogger(slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}))))
			env := suite.NewTestActivityEnvironment()
			env.SetWorkerOptions(worker.Options{Plugins: plugins(t, nil)})
			env.RegisterActivityWithOptions(func(ctx context.Context) (int, error) {
				return wdactivity.Do(ctx, b.url("ws"), opts, func(_ context.Context, m *mount.Mount) (int, error) {
					if err := test.work(m); err != nil {
						return 0, err
					}
					return 0, sdk.ErrResultPending
				})
			}, sdk.RegisterOptions{Name: "test"})
			_, err := env.ExecuteActivity("test")
			require.Equal(t, sdk.ErrResultPending, err)
			require.Equal(t, test.want, strings.Contains(text.String(), "ErrResultPending"), text.String())
		})
	}
}

// A directory of one's own is where the workspace is mounted, for tools that note
// absolute paths.
func TestDirectoryOfOnesOwn(t *testing.T) {
	for _, plain := range []bool{false, true} {
		b := newBench(t)
		opts := b.options()
		opts.Dir, opts.Plain, opts.AutoCommit = t.TempDir(), plain, true
		for i := range 2 {
			_, err := run(t, context.Background(), func(ctx context.Context) (int, error) {
				return wdactivity.Do(ctx, b.url("ws"), opts, func(_ context.Context, m *mount.Mount) (int, error) {
					return 0, errors.Join(equal(m.Path(), opts.Dir), write(m, "f", fmt.Sprint(i)))
				})
			})
			require.NoError(t, err)
		}
		b.wantStored("ws", "f", "1")
	}
}

func TestGoexitUnmountsAndStoresNothing(t *testing.T) {
	b := newBench(t)
	_, err := run(t, context.Background(), func(ctx context.Context) (int, error) {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = wdactivity.Do(ctx, b.url("ws"), b.options(), func(_ context.Context, m *mount.Mount) (int, error) {
				if err := errors.Join(write(m, "f", "new"), m.Commit()); err != nil {
					t.Error(err)
				}
				runtime.Goexit()
				return 0, nil
			})
		}()
		<-ended
		return 0, nil
	})
	require.NoError(t, err)
	b.noMounts()
	b.wantNoArchive("ws")
}

// A panic must reach the caller unchanged, after the unmount.
func TestPanicGoesOnAfterTheUnmount(t *testing.T) {
	b := newBench(t)
	_, err := run(t, context.Background(), func(ctx context.Context) (int, error) {
		defer func() {
			if r := recover(); r != errWork {
				t.Errorf("recovered %v, want %v", r, errWork)
			}
			b.noMounts()
		}()
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(context.Context, *mount.Mount) (int, error) {
			panic(errWork)
		})
	})
	require.NoError(t, err)
	b.wantNoArchive("ws")
}

func TestCancelledActivityStoresNothing(t *testing.T) {
	for _, marked := range []bool{true, false} {
		t.Run(fmt.Sprintf("marked=%v", marked), func(t *testing.T) {
			b := newBench(t)
			ctx, cancel := context.WithCancelCause(context.Background())
			_, err := run(t, ctx, func(ctx context.Context) (string, error) {
				return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
					if err := write(m, "f", "new"); err != nil {
						return "", err
					}
					if marked {
						if err := m.Commit(); err != nil {
							return "", err
						}
					}
					cancel(errWork)
					<-ctx.Done()
					return "result", nil // as if it had not seen the end
				})
			})
			b.noMounts()
			b.wantNoArchive("ws")
			if !marked {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, errWork.Error())
		})
	}
}

// The end of the context must stop a commit that is under way, too: a mount that
// is in use keeps Close waiting until the context has ended.
func TestCancelWhileClosing(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	opts := b.options()
	opts.Grace = wdactivity.Duration(time.Minute)
	_, err := direct(t, ctx, func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), opts, func(_ context.Context, m *mount.Mount) (string, error) {
			if err := errors.Join(write(m, "f", "new"), m.Commit()); err != nil {
				return "", err
			}
			f, err := os.Open(m.Path("f"))
			if err != nil {
				return "", err
			}
			go func() {
				defer f.Close()
				defer cancel(errWork)
				for {
					st, err := m.Status(context.Background())
					if err != nil || st.State != "mounted" {
						return
					}
				}
			}()
			return "result", nil
		})
	})
	require.ErrorIs(t, err, wdactivity.ErrFenced)
	require.ErrorIs(t, err, errWork)
	b.noMounts()
	b.wantNoArchive("ws")
}

func TestReadOnly(t *testing.T) {
	b := newBench(t)
	seed(t, b, "ws", "f", "old")
	opts := b.options()
	opts.ReadOnly, opts.AutoCommit = true, true
	_, err := run(t, context.Background(), func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), opts, func(_ context.Context, m *mount.Mount) (string, error) {
			if err := write(m, "f", "new"); err == nil {
				return "", errors.New("a write to a read-only workspace worked")
			}
			if err := m.Commit(); !errors.Is(err, mount.ErrReadOnly) {
				return "", fmt.Errorf("commit of a read-only workspace: %v", err)
			}
			data, err := os.ReadFile(m.Path("f"))
			if string(data) != "old" {
				return "", fmt.Errorf("content is %q, %v", data, err)
			}
			return "", nil
		})
	})
	require.NoError(t, err)
	b.wantStored("ws", "f", "old")
}

func seed(t *testing.T, b *bench, name, file, content string) {
	t.Helper()
	b.put(name, file, content)
}

func TestTwoWorkspacesInOneActivity(t *testing.T) {
	b := newBench(t)
	seed(t, b, "from", "f", "text")
	_, err := run(t, context.Background(), func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("from"), b.options(), func(ctx context.Context, from *mount.Mount) (string, error) {
			return wdactivity.Do(ctx, b.url("to"), b.options(), func(ctx context.Context, to *mount.Mount) (string, error) {
				if inner, _ := wdactivity.Workspace(ctx); inner != to {
					return "", errors.New("the innermost workspace is not that of the context")
				}
				data, err := os.ReadFile(from.Path("f"))
				return "", errors.Join(err, write(to, "g", string(data)), to.Commit())
			})
		})
	})
	require.NoError(t, err)
	b.wantStored("to", "g", "text")
}

func TestConcurrentActivities(t *testing.T) {
	b := newBench(t)
	const activities = 8
	var wg sync.WaitGroup
	for i := range activities {
		wg.Go(func() {
			name := fmt.Sprintf("ws-%d", i)
			_, err := run(t, context.Background(), func(ctx context.Context) (string, error) {
				return wdactivity.Do(ctx, b.url(name), b.options(), func(_ context.Context, m *mount.Mount) (string, error) {
					return "", errors.Join(write(m, "f", name), m.Commit())
				})
			})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	for i := range activities {
		b.wantStored(fmt.Sprintf("ws-%d", i), "f", fmt.Sprintf("ws-%d", i))
	}
}

func TestConflict(t *testing.T) {
	b := newBench(t)
	_, err := run(t, context.Background(), func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(_ context.Context, m *mount.Mount) (string, error) {
			seed(t, b, "ws", "f", "first") // another activity, meanwhile
			return "", errors.Join(write(m, "f", "second"), m.Commit())
		})
	})
	require.ErrorContains(t, err, store.ErrConflict.Error())
	b.wantStored("ws", "f", "first")
}

// A process that the function left behind makes its activity fail, and the mount
// goes when that process does.
func TestBusyFailsAndGoesLater(t *testing.T) {
	b := newBench(t)
	opts := b.options()
	opts.Grace = wdactivity.Duration(time.Millisecond)
	var held *os.File
	var m *mount.Mount
	_, err := direct(t, context.Background(), func(ctx context.Context) (int, error) {
		return wdactivity.Do(ctx, b.url("ws"), opts, func(_ context.Context, mounted *mount.Mount) (int, error) {
			m = mounted
			var err error
			held, err = os.Create(m.Path("f"))
			return 0, errors.Join(err, m.Commit())
		})
	})
	require.ErrorIs(t, err, mount.ErrBusy)
	require.NoError(t, held.Close())
	<-m.Done()
	b.wantNoArchive("ws")
}
