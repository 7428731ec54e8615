package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// find gives the mount that a path is in.
func (a *app) find(ctx context.Context, path string) (*mount.Remote, error) {
	a.cleanUp(ctx)
	return mount.Find(ctx, path, a.runDir)
}

// cleanUp clears away what killed processes left. Nothing depends on it.
func (a *app) cleanUp(ctx context.Context) {
	if err := mount.CleanUp(ctx, a.runDir); err != nil {
		a.log.Warn("what killed processes left is not cleared away", "cause", err)
	}
}

func (a *app) commitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "commit DIR",
		Short: "Mark a mounted workspace to be stored when it is unmounted",
		Long: `commit marks the workspace that DIR is in. It writes nothing itself: the
workspace is stored as it is when it is unmounted.`,
		Example: `  workdir-mount commit /mnt/job-1`,
		Args:    cobra.ExactArgs(1),
		RunE:    a.onMount((*mount.Remote).Commit),
	}
}

func (a *app) abandonCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "abandon DIR",
		Short: "Make sure that a mounted workspace is not stored",
		Long: `abandon takes back the mark of workdir-mount commit, for good: whatever is done in
the mount that DIR is in, nothing of it is stored.`,
		Example: `  workdir-mount abandon /mnt/job-1`,
		Args:    cobra.ExactArgs(1),
		RunE:    a.onMount((*mount.Remote).Abandon),
	}
}

// onMount is a command that does one thing to a mount.
func (a *app) onMount(do func(*mount.Remote, context.Context) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		return untilSignal(func(ctx context.Context) error {
			r, err := a.find(ctx, args[0])
			if err != nil {
				return err
			}
			if err := do(r, ctx); err != nil || !a.json {
				return err
			}
			return a.printStatus(ctx, r)
		})
	}
}

func (a *app) umountCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "umount DIR...",
		Aliases: []string{"unmount"},
		Short:   "Unmount workspaces, and store those that were marked",
		Long: `umount ends the mount that DIR is in, waits until its changes are stored if
workdir-mount commit has marked it, and says what it stored or discarded. It fails
if storing failed. A mount that is still in use stays, and can be unmounted again.

Of several it unmounts one after the other. If some fail it goes on with the others, and
the exit code is that of the first that failed.`,
		Example: `  workdir-mount umount /mnt/job-1
  workdir-mount umount /mnt/*`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.umountAll(ctx, args) })
		},
	}
}

// umountAll unmounts one after the other. Of several it prints the errors as they come, and
// returns the exit code of the first.
func (a *app) umountAll(ctx context.Context, dirs []string) error {
	var first error
	for _, dir := range dirs {
		err := a.umount(ctx, dir)
		if len(dirs) == 1 || ctx.Err() != nil {
			return err
		}
		a.printError(err)
		if first == nil && err != nil {
			first = &statusError{code: exitCode(err)}
		}
	}
	return first
}

func (a *app) umount(ctx context.Context, dir string) error {
	r, err := a.find(ctx, dir)
	if err != nil {
		return err
	}
	status, err := r.Status(ctx)
	if err != nil {
		return err
	}
	result, err := a.closeRemote(ctx, r)
	for _, text := range result.Warnings {
		a.log.Warn(text)
	}
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, newClosedMount(status.URL, status.Path, result))
	}
	if !a.quiet {
		return printText(a.stdout, outcome(result)+"\n")
	}
	return nil
}

func (a *app) closeRemote(ctx context.Context, r *mount.Remote) (mount.Result, error) {
	bar := a.newProgress()
	defer bar.finish()
	return r.Close(ctx, bar.update)
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status [DIR]",
		Short: "Tell of mounted workspaces",
		Long: `status tells of the mount that DIR is in, or of all mounts of this user that
belong to the run directory.`,
		Example: `  workdir-mount status
  workdir-mount status --json /mnt/job-1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error {
				if len(args) == 0 {
					return a.statusOfAll(ctx)
				}
				r, err := a.find(ctx, args[0])
				if err != nil {
					return err
				}
				return a.printStatus(ctx, r)
			})
		},
	}
}

func (a *app) printStatus(ctx context.Context, r *mount.Remote) error {
	status, err := r.Status(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, status)
	}
	return a.printRows(rowsOf(status))
}

func (a *app) statusOfAll(ctx context.Context) error {
	a.cleanUp(ctx)
	mounts, err := mount.List(ctx, a.runDir) // an error may be of some of them
	if a.json {
		return errors.Join(err, printJSON(a.stdout, mounts))
	}
	if len(mounts) == 0 {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DIR\tURL\tSTATE\tAT UNMOUNT\tCHANGES\tMEMORY")
	for _, m := range mounts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", printable.Name(m.Path), printable.Text(m.URL), m.State, atUnmount(m), m.Changes.Total(), humanBytes(m.Bytes))
	}
	return errors.Join(err, w.Flush())
}

// rowsOf describes one mount, one property per row.
func rowsOf(s mount.Status) [][2]string {
	revision := string(s.Revision)
	if revision == "" {
		revision = "none: the workspace has no archive"
	}
	return [][2]string{
		{"dir", printable.Name(s.Path)},
		{"url", s.URL},
		{"state", s.State},
		{"view", viewWord(s)},
		{"at unmount", atUnmount(s)},
		{"opened", s.Opened.Local().Format(time.DateTime)},
		{"revision", revision},
		{"archive", archiveWord(s.Base)},
		{"changes", fmt.Sprintf("%d created, %d modified, %d removed; %s", s.Changes.Created, s.Changes.Modified, s.Changes.Removed, humanBytes(s.Changes.Bytes))},
		{"memory", humanBytes(s.Bytes) + limitOf(s.MaxBytes > 0, humanBytes(s.MaxBytes))},
		{"files", fmt.Sprint(s.Inodes) + limitOf(s.MaxInodes > 0, fmt.Sprint(s.MaxInodes))},
		{"traffic", trafficWord(s.Traffic)},
		{"processes", fmt.Sprintf("client %d, server %d", s.ClientPID, s.ServerPID)},
	}
}

// viewWord says how tools see the workspace, and why not by the overlay.
func viewWord(s mount.Status) string {
	if s.ViewReason == "" {
		return string(s.View)
	}
	return fmt.Sprintf("%s: %s", s.View, s.ViewReason)
}

// archiveWord says how much of the archive needs the store no more.
func archiveWord(b *mount.BaseStatus) string {
	if b == nil {
		return "none, or read whole"
	}
	return fmt.Sprintf("%s of %s are here", humanBytes(b.Here), humanBytes(b.Bytes))
}

// trafficWord sums up what went over the network.
func trafficWord(t store.Traffic) string {
	if t == nil {
		return "none: the store needs no network"
	}
	var all store.Requests
	for _, r := range t {
		all.Count += r.Count
		all.Retries += r.Retries
		all.Sent += r.Sent
		all.Received += r.Received
	}
	return fmt.Sprintf("%d requests, %d of them again; %s sent, %s received", all.Count, all.Retries, humanBytes(all.Sent), humanBytes(all.Received))
}

func limitOf(limited bool, limit string) string {
	if !limited {
		return ""
	}
	return " of " + limit
}

// atUnmount says what will become of the changes.
func atUnmount(s mount.Status) string {
	switch {
	case s.State == mount.StateSilent:
		return "not known"
	case s.ReadOnly:
		return "nothing (read-only)"
	case s.Abandoned:
		return "discard (abandoned)"
	case s.Marked:
		return "store"
	}
	return "discard (not committed)"
}
