package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/internal/printable"
)

func (a *app) checkpointCommand() *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "checkpoint [flags] DIR",
		Short: "Store the present state of a mounted workspace beside it",
		Long: `checkpoint stores what is in the mount that DIR is in now, while tools work on: beside the
workspace, under a name of the mount's own, where no list of workspaces shows it. The
workspace stays as it is. A later checkpoint of the mount takes the place of this one, and a
commit removes it; if the work fails it stays. It is read as a version, by the URL that
checkpoint prints, and exec and mount begin with it by --from-checkpoint.

docs/semantics.md says what is in a checkpoint of files that are being changed.`,
		Example: `  workdir-mount checkpoint /mnt/job-1
  workdir-mount mount --from-checkpoint last s3://bucket/jobs/job-1 /mnt/job-1`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkMessage(message); err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error { return a.checkpoint(ctx, args[0], message) })
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "what the record is to say of the checkpoint")
	return cmd
}

func (a *app) checkpoint(ctx context.Context, dir, message string) error {
	r, err := a.find(ctx, dir)
	if err != nil {
		return err
	}
	c, err := r.Checkpoint(ctx, message)
	if err != nil {
		return err
	}
	for _, text := range c.Warnings {
		a.log.Warn(text)
	}
	if a.json {
		return printJSON(a.stdout, c)
	}
	return a.say("%s: %s since the workspace was opened, %s", c.URL, changedFiles(c.Changes), printable.Bytes(c.Size))
}
