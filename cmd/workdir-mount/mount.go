package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/mount"
)

func (a *app) mountCommand() *cobra.Command {
	var f mountFlags
	var at atFlag
	var foreground bool
	var logFile string
	cmd := &cobra.Command{
		Use:   "mount [flags] URL DIR",
		Short: "Mount a workspace on a directory",
		Long: `mount shows the workspace in DIR, an empty directory, and returns when it is
mounted. A process stays behind that keeps it until it is unmounted. With --foreground
that is this process, and a service manager is told when the mount is there (Type=notify).
If the server of the mount dies DIR stays mounted, and tools get ENOTCONN there ("Transport
endpoint is not connected"), until workdir-mount umount DIR, whose exit code is then 107.

What is done in DIR is stored at workdir-mount umount DIR, if before that
workdir-mount commit DIR has marked it. umount(8) or fusermount3 -u end the mount
as well, but store nothing.

SIGTERM to the process that stays is like workdir-mount umount DIR; a second one
while it unmounts gives up, and stores nothing. With --foreground that process is
this one, and SIGINT (Ctrl-C), SIGHUP and SIGQUIT are the same.`,
		Example: `  workdir-mount mount file:///tmp/ws/job-1 /mnt/job-1
  workdir-mount commit /mnt/job-1
  workdir-mount umount /mnt/job-1`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			f.Dir = args[1]
			url, err := at.of(args[0])
			if err == nil {
				err = f.resolve(url)
			}
			if err != nil {
				return err
			}
			if !foreground {
				return a.mountInBackground(&f, logFile)
			}
			if logFile != "" {
				return badFlag("--log-file", "is for the process that stays behind; with --foreground redirect standard error")
			}
			return a.mountForeground(&f)
		},
	}
	f.register(cmd.Flags())
	at.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.Commit, "commit", false, "mark the workspace at once, as workdir-mount commit does, to be stored when it is unmounted")
	cmd.Flags().StringVar(&f.Metrics, "metrics", "", "serve /metrics for Prometheus and /healthz at this `ADDRESS`, such as 127.0.0.1:9090, to anyone who reaches it")
	cmd.Flags().StringVar(&logFile, "log-file", "", "file to which the process that stays behind adds what it has to say (default: nothing is kept)")
	cmd.Flags().BoolVar(&foreground, "foreground", false, "stay, and unmount on a signal")
	return cmd
}

// mountForeground mounts and stays until the mount ends.
func (a *app) mountForeground(f *mountFlags) error {
	sigs, stop := watchSignals()
	defer stop()
	opened, err := cancelling(sigs, 1, func(ctx context.Context) (opened, error) {
		return a.openWithStatus(ctx, f)
	})
	defer func() { a.stopServer(err) }()
	if err != nil {
		return err
	}
	if err := a.reportMounted(opened.status); err != nil {
		return err
	}
	if err := notifyManager("READY=1"); err != nil {
		a.log.Warn("the service manager could not be notified", "cause", err)
	}
	m := opened.mount
	result, err := a.serve(m, sigs, false)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, newClosedMount(m.URL(), m.Path(), result))
	}
	if !f.ReadOnly {
		a.note("%s", outcome(result))
	}
	return nil
}

// opened is a mount and its first status.
type opened struct {
	mount  *mount.Mount
	status mount.Status
}

// openWithStatus mounts, gets the first status, and serves the metrics of the mount.
func (a *app) openWithStatus(ctx context.Context, f *mountFlags) (opened, error) {
	listener, err := listenMetrics(f.Metrics)
	if err != nil {
		return opened{}, err
	}
	begun := time.Now()
	o, err := a.openMarked(ctx, f)
	switch {
	case listener == nil:
	case err != nil:
		_ = listener.Close() // an error has no consequences
	default:
		a.serveMetrics(listener, &observed{f.URL.Scheme, modeOf(f.ReadOnly), time.Since(begun), o.mount.Status})
	}
	return o, err
}

// openMarked mounts, marks if requested, and gets the first status.
func (a *app) openMarked(ctx context.Context, f *mountFlags) (opened, error) {
	m, err := a.open(ctx, f)
	if err != nil {
		return opened{}, err
	}
	if f.Commit {
		err = m.Commit()
	}
	var status mount.Status
	if err == nil {
		status, err = m.Status(ctx)
	}
	if err != nil {
		m.Abandon()
		_, _ = m.Close(context.WithoutCancel(ctx)) // err is returned
	}
	return opened{m, status}, err
}

// reportMounted reports a mount that is ready for use.
func (a *app) reportMounted(status mount.Status) error {
	if a.json {
		return printJSON(a.stdout, status)
	}
	a.log.Info("mounted " + status.URL + " on " + status.Path)
	return nil
}
