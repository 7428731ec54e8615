package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// age is a flag for a time span: as in time.Duration, or whole days, 30d, or weeks, 4w.
type age time.Duration

// Set reads a flag.
func (d *age) Set(s string) error {
	const day = 24 * time.Hour
	for unit, span := range map[string]time.Duration{"d": day, "w": 7 * day} {
		digits, ok := strings.CutSuffix(s, unit)
		n, err := strconv.ParseUint(digits, 10, 16)
		if ok && err == nil {
			*d = age(time.Duration(n) * span)
			return nil
		}
	}
	span, err := time.ParseDuration(s)
	if err != nil || span < 0 {
		return fmt.Errorf("%q is not a time span; write for example 30d, 4w or 12h", s)
	}
	*d = age(span)
	return nil
}

func (d *age) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type is the name of the value in the help.
func (d *age) Type() string { return "time" }

// keepFlags select the archives that stay as versions.
type keepFlags struct {
	Last uint `json:"last"`
	For  age  `json:"for"`
}

func (f *keepFlags) register(flags *pflag.FlagSet) {
	flags.UintVar(&f.Last, "keep-last", 0, "keep the last `N` archives that commits replace, as versions (default: none)")
	flags.Var(&f.For, "keep-for", "keep the archives that commits replace as versions for so long, such as 30d")
}

func (f *keepFlags) keep() store.Keep {
	return store.Keep{Last: int(min(f.Last, 1<<30)), For: time.Duration(f.For)}
}

// atFlag is a version of the workspace of the first argument.
type atFlag struct{ commit string }

func (f *atFlag) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.commit, "at", "", "the workspace as the `COMMIT` made it, by 8 digits or more of its id; as URL@COMMIT")
}

// of returns the URL of the selected version.
func (f *atFlag) of(url string) (string, error) {
	if f.commit == "" {
		return url, nil
	}
	u, err := store.ParseURL(url)
	if err == nil {
		u, err = u.At(f.commit)
	}
	return u.String(), err
}

// checkMessage returns an error if a message does not fit into a commit's record.
func checkMessage(text string) error {
	if len(text) > archive.MaxMessage {
		return badFlag("--message", fmt.Sprintf("has %d bytes, and may have %d", len(text), archive.MaxMessage))
	}
	return nil
}

func (a *app) rollbackCommand() *cobra.Command {
	var keep keepFlags
	var message string
	cmd := &cobra.Command{
		Use:   "rollback [flags] URL COMMIT",
		Short: "Make a version the present state of a workspace",
		Long: `rollback stores the files of a version as the workspace, by a commit of its own on top of
what is there, which is kept as a version itself, so that it can be taken back. The log goes
on. If another commit comes in between nothing is stored (exit code 104).`,
		Example: `  workdir-mount rollback s3://bucket/jobs/job-1 5f1dc0de`,
		Args:    cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := checkMessage(message); err != nil {
				return err
			}
			return changing(func(ctx context.Context) error { return a.rollback(ctx, args[0], args[1], keep.keep(), message) })
		},
	}
	keep.register(cmd.Flags())
	cmd.Flags().StringVarP(&message, "message", "m", "", "what the log is to say of the commit")
	return cmd
}

// rolledBack is the output of rollback --json.
type rolledBack struct {
	URL      string           `json:"url"`
	Restored archive.CommitID `json:"restoredId"`
	Stored   bool             `json:"stored"`
	CommitID archive.CommitID `json:"commitId,omitempty"`
	Revision store.Revision   `json:"revision"`
	Size     int64            `json:"size"`
	Changes  fs.Changes       `json:"changes"`
	Warnings []string         `json:"warnings,omitempty"`
}

func (a *app) rollback(ctx context.Context, url, commit string, keep store.Keep, message string) error {
	w := a.newWork()
	done, err := workspace.Rollback(ctx, url, commit, &workspace.RollbackOptions{
		Options: w.options(), Keep: keep, Message: message, Tool: "workdir/" + mount.Version(),
	})
	w.finish()
	if err != nil {
		return err
	}
	out := rolledBack{
		URL: store.Redacted(url), Restored: done.Restored, Stored: done.CommitID != "", CommitID: done.CommitID,
		Revision: done.Info.Revision, Size: done.Info.Size, Changes: done.Changes, Warnings: w.warnings,
	}
	switch {
	case a.json:
		return printJSON(a.stdout, out)
	case !out.Stored:
		return a.say("%s is at %s already", out.URL, out.Restored.Short())
	}
	return a.say("%s is as %s made it: %s, commit %s, revision %s", out.URL, out.Restored.Short(), changedFiles(done.Changes), out.CommitID.Short(), out.Revision)
}

func (a *app) forkCommand() *cobra.Command {
	return a.copyCommand(&cobra.Command{
		Use:   "fork [flags] URL[@COMMIT] NEW-URL",
		Short: "Make a new workspace of a version of another one",
		Long: `fork makes a workspace of what another one is, or was as a commit made it: byte for byte,
and with the log up to there. Stores that can copy by themselves do. Versions are not
copied.` + conditionsHelp,
		Example: `  workdir-mount fork s3://bucket/jobs/job-1@5f1dc0de s3://bucket/jobs/job-1-again`,
	}, "forked", store.Copy)
}
