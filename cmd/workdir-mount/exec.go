package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

type execFlags struct {
	mountFlags
	stepFlags
	explicit  bool
	message   string
	noCommand bool
	leftovers leftovers
	retry     count
}

func (a *app) execCommand() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] URL -- COMMAND [ARG]...",
		Short: "Run a command in a workspace and store what it did",
		Long: `exec mounts the workspace, runs the command with the mountpoint as its working
directory, and unmounts. If the command exits 0 its changes are stored as the
workspace's next revision; if it fails, or ends by a signal, nothing is stored.

With --at the command and all that it starts see the workspace at that path, always the
same for tools that note where they are (docs/cli.md).

The command finds WORKDIR (the mountpoint, or the path of --at) and WORKDIR_URL in its environment.
With --explicit, exit 0 alone stores nothing: something in the command runs
workdir-mount commit "$WORKDIR".

With --execution the work takes effect once, however often it is tried: where an
earlier attempt, or one that overlaps with this one, has stored its changes, those
count, the command is not run or its changes are discarded, and the exit code is 0.
--result-file keeps what the command has to say with its changes (docs/cli.md).

The exit code is the command's own, 128 plus the number of the signal that ended
it, 126 or 127 if it cannot be run or found, or 100 to 111 for errors of
workdir-mount (docs/cli.md). SIGINT, SIGTERM, SIGHUP and SIGQUIT go to the
command; once it has ended the first of them is ignored, the second cancels the commit,
and the third ends the waiting for a store that does not answer (exit code 109).`,
		Example: `  workdir-mount exec file:///tmp/ws/job-1 -- make test
  workdir-mount exec --read-only /tmp/ws/job-1 -- git log
  workdir-mount exec --execution "$ID" --attempt 2 s3://bucket/job-1 -- make test
  workdir-mount exec --explicit /tmp/ws/job-1 -- sh -c 'make && workdir-mount commit "$WORKDIR"'`,
		Args: execArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.mountFlags.resolve(args[0]); err != nil {
				return err
			}
			if err := f.stepFlags.resolve(cmd.Flags(), &f.mountFlags); err != nil {
				return err
			}
			if f.wait < 0 || f.wait > 0 && f.Dir != "" {
				return badFlag("--wait", "must be more than 0, such as 10m, and does not go with --dir")
			}
			if f.leftovers == waitForLeftovers {
				f.Grace = forever
			}
			return a.execOften(&f, args[1:])
		},
	}
	f.mountFlags.register(cmd.Flags())
	f.stepFlags.register(cmd.Flags())
	cmd.Flags().StringVar(&f.Dir, "dir", "", "mountpoint, an empty directory (default: one is made in the run directory, at the same path each time)")
	cmd.Flags().StringVar(&f.at, "at", "", "path at which the command sees the workspace, in a mount namespace of its own: any number of workspaces have it at once (default: the mountpoint)")
	cmd.Flags().StringVarP(&f.message, "message", "m", "", "what the log is to say of the commit")
	cmd.Flags().BoolVar(&f.noCommand, "no-command", false, "leave the command's line out of the log, where arguments are secret")
	cmd.Flags().Var(&f.retry, "retry", "how often the command is run again, on what others have stored, where they stored the workspace while it ran (default: never, and exit code 104)")
	cmd.Flags().DurationVar(&f.wait, "wait", 0, "how long to wait, such as 10m, where another mount of this user on this host has the workspace's mountpoint (default: a mountpoint of its own at once)")
	cmd.Flags().BoolVar(&f.explicit, "explicit", false, "store only if something in the command runs workdir-mount commit")
	cmd.Flags().Var(&f.leftovers, "leftovers", "what happens to processes that still use the workspace after the command and --grace: fail, and nothing is stored; kill those that the command has started; or wait for all of them, however long (default fail)")
	return cmd
}

func execArgs(cmd *cobra.Command, args []string) error {
	switch dash := cmd.ArgsLenAtDash(); {
	case dash != 1 && !(dash < 0 && len(args) == 0):
		return errors.New("write URL -- COMMAND")
	case len(args) < 2:
		return errors.New("a URL and, after --, a command are needed")
	}
	return nil
}

// execOften runs the command, and again after conflicts, --retry times at most.
func (a *app) execOften(f *execFlags, argv []string) error {
	for left := f.retry; ; left-- {
		f.redone = left > 0
		err := a.exec(f, argv)
		if left == 0 || !errors.Is(err, store.ErrConflict) {
			return err
		}
		a.note("others have stored the workspace meanwhile: what the command did is discarded, and it runs again on what they stored (%d of %d)", f.retry-left+1, f.retry)
	}
}

// exec runs the command once. The signals have a meaning in each phase: before the
// command runs they end us, then they go to it, and at the end the second one cancels
// the commit.
func (a *app) exec(f *execFlags, argv []string) error {
	if err := checkMessage(f.message); err != nil {
		return err
	}
	if !f.noCommand {
		f.command = strings.Join(argv, " ")
	}
	if err := f.clearResult(); err != nil {
		return err
	}
	if f.leftovers == killLeftovers {
		adoptOrphans()
	}
	sigs, stop := watchSignals()
	defer stop()
	m, err := cancelling(sigs, 1, func(ctx context.Context) (*mount.Mount, error) {
		return a.open(ctx, &f.mountFlags)
	})
	defer func() { a.stopServer(err) }()
	if err != nil {
		return a.notRun(&f.stepFlags, err)
	}
	if !f.ReadOnly {
		a.saysNew(context.Background(), m)
		a.nothingRemains(f.URL)
	}
	end := a.runIn(m, sigs, f, argv)
	err = a.markEnd(m, f, end)
	result, closeErr := a.closeAfter(m, sigs, f, end)
	if closeErr != nil {
		err = closeErr
	}
	if errors.Is(err, mount.ErrBusy) && end.clean() && f.SaveFailed != "" {
		err = a.keepBusy(m, sigs, err)
	}
	if m.Marked() {
		err = mayBeStored(err)
	}
	return a.report(m, f, end, result, err)
}

// ending is how the command ended.
type ending struct {
	code int            // as in a shell
	sig  syscall.Signal // 0 unless a signal ended it
	err  error          // we could not start it
}

func (e ending) clean() bool { return e.code == 0 && e.err == nil }

// String describes how the command ended, for notes.
func (e ending) String() string {
	if e.sig != 0 {
		return "the command was ended by " + signalName(e.sig)
	}
	return fmt.Sprintf("the command failed with exit code %d", e.code)
}

// runIn runs the command in the mount until it ends.
func (a *app) runIn(m *mount.Mount, sigs <-chan os.Signal, f *execFlags, argv []string) ending {
	cmd := mount.Command(context.Background(), m, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = f.withoutStep(a.environment(m))
	runtime.LockOSThread() // see newJob
	defer runtime.UnlockOSThread()
	j := newJob(cmd)
	defer j.close()
	if err := cmd.Start(); err != nil {
		return ending{err: fmt.Errorf("start %s: %w", argv[0], err)}
	}
	var err error
	during(sigs, j.forward, func() { err = cmd.Wait() })
	return endingOf(cmd, err)
}

func endingOf(cmd *exec.Cmd, err error) ending {
	if cmd.ProcessState == nil {
		return ending{err: err}
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus) // always that type on Linux
	if status.Signaled() {
		return ending{code: exitSignal + int(status.Signal()), sig: status.Signal()}
	}
	return ending{code: status.ExitStatus()}
}

// markEnd marks the mount after a clean end, and abandons it after any other. It is not an
// error if the command has abandoned it.
func (a *app) markEnd(m *mount.Mount, f *execFlags, end ending) error {
	if !end.clean() {
		m.Fail(end.String())
		return nil
	}
	if f.ReadOnly {
		return nil
	}
	if f.message != "" {
		if err := m.SetMessage(f.message); err != nil {
			m.Abandon()
			return err
		}
	}
	if err := f.keepResult(m); err != nil {
		m.Abandon()
		return err
	}
	if f.explicit {
		return nil
	}
	if err := m.Commit(); err != nil && !errors.Is(err, mount.ErrAbandoned) {
		return err
	}
	return nil
}

// closeAfter unmounts and, if marked, stores. The first signal may have been meant for the
// command and arrived just after its end. So only the second one cancels.
func (a *app) closeAfter(m *mount.Mount, sigs <-chan os.Signal, f *execFlags, end ending) (mount.Result, error) {
	early := func(sig syscall.Signal) {
		switch {
		case !end.clean(): // most likely the signal that ended it
		case m.Marked():
			a.note("%s after the command has ended: its changes are being stored; another signal cancels that", signalName(sig))
		default:
			a.note("%s after the command has ended: the workspace is being unmounted; another signal ends that", signalName(sig))
		}
	}
	return cancellingAfter(sigs, 2, early, func(ctx context.Context) (mount.Result, error) {
		return a.closeMount(ctx, m, f.leftovers)
	})
}

// report reports the outcome for the changes, and determines the exit code: a lost server,
// then the command's own failure, then ours.
func (a *app) report(m *mount.Mount, f *execFlags, end ending, result mount.Result, err error) error {
	if a.json {
		closed := newClosedMount(m.URL(), m.Path(), result)
		closed.ExitCode = &end.code
		var committed *mount.CommittedError
		if errors.As(err, &committed) {
			closed.replay(committed)
		}
		if jsonErr := printJSON(a.stderr, closed); jsonErr != nil {
			return jsonErr
		}
	}
	switch {
	case errors.Is(err, mount.ErrAlreadyCommitted):
		return a.replayed(&f.stepFlags, err, "what this attempt did is discarded")
	case errors.Is(err, mount.ErrServerLost):
		return err
	case end.err != nil:
		return end.err
	case !end.clean():
		a.reportFailure(end, result, err)
		return &statusError{code: end.code}
	case err != nil:
		return busyAtEnd(f, err)
	}
	a.reportSuccess(f, result)
	return nil
}

func (a *app) reportFailure(end ending, result mount.Result, err error) {
	if err != nil {
		a.log.Warn("nothing is stored", "cause", err)
	}
	switch {
	case result.Saved != "":
		a.note("%v: %s saved as %s", end, changedFiles(result.Changes), result.Saved)
	case result.Changes.Total() > 0:
		a.note("%v: %s discarded", end, changedFiles(result.Changes))
	}
}

func (a *app) reportSuccess(f *execFlags, result mount.Result) {
	switch {
	case f.ReadOnly:
	case result.Stored || result.Deleted || result.Changes.Total() == 0:
		a.log.Info(outcome(result))
	default:
		a.note("%s", outcome(result))
	}
}

// keepBusy keeps what is in a mount that is still busy as a checkpoint, since there is no final
// state that could be saved as a workspace. It returns busy, with the checkpoint if there is one.
func (a *app) keepBusy(m *mount.Mount, sigs <-chan os.Signal, busy error) error {
	c, err := cancelling(sigs, 1, m.Checkpoint)
	if err != nil {
		a.log.Warn("what is in the mount could not be kept as a checkpoint", "cause", err)
		return busy
	}
	return &keptError{busy, c.URL}
}

// keptError is the error of a mount of whose work there is a checkpoint.
type keptError struct {
	error
	url string
}

func (e *keptError) Unwrap() error { return e.error }

// busyAtEnd is the error of a mount that is still busy when its client ends.
func busyAtEnd(f *execFlags, err error) error {
	var busy *mount.BusyError
	if !errors.As(err, &busy) {
		return err
	}
	end := "the mount is detached"
	if f.Plain {
		end = "the next command removes the directory"
	}
	var kept *keptError
	if errors.As(err, &kept) {
		end += ", and what was in it is kept as the checkpoint " + kept.url
	}
	return &statusError{code: exitBusy, err: fmt.Errorf(
		"unmount %s: still in use by %s; nothing is stored and %s; let the command wait for what it starts, or use --leftovers=wait or --leftovers=kill",
		busy.Path, processList(busy.Processes), end)}
}
