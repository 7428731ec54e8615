package main

import (
	"context"
	"path"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// ifRevision is the flag that names the revision which a command changes.
const ifRevision = "if-revision"

// targetFlags are the conditions on the destination of a command.
type targetFlags struct {
	replace  bool
	revision string
}

func (f *targetFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.replace, "replace", false, "replace the archive that is there")
	flags.StringVar(&f.revision, ifRevision, "", "replace the archive that is there, if it is this revision")
}

func (f *targetFlags) check(flags *pflag.FlagSet) error {
	switch {
	case flags.Changed(ifRevision) && f.revision == "":
		return badFlag("--"+ifRevision, "is empty; write the revision that stat shows")
	case f.replace && f.revision != "":
		return badFlag("--replace", "replaces any revision, and --"+ifRevision+" one; use one of them")
	}
	return nil
}

const conditionsHelp = `

There must be no archive at the destination; --replace replaces the one that is
there, and --if-revision does if it is that revision. If the destination meets no
such condition nothing is stored, and the exit code is 104.`

func (a *app) cpCommand() *cobra.Command {
	return a.copyCommand(&cobra.Command{
		Use:   "cp [flags] SRC-URL DST-URL",
		Short: "Copy a workspace",
		Long: `cp copies the archive of a workspace, byte for byte and with its commit log, within
a store or to another one. Stores that can copy by themselves do. Where DST-URL ends with a
slash the copy has the name of the source beneath it.` + conditionsHelp,
		Example: `  workdir-mount cp s3://bucket/jobs/job-1 file:///tmp/ws/job-1
  workdir-mount cp --replace file:///tmp/ws/base gs://bucket/base`,
	}, "copied", store.Copy)
}

func (a *app) mvCommand() *cobra.Command {
	return a.copyCommand(&cobra.Command{
		Use:   "mv [flags] SRC-URL DST-URL",
		Short: "Move a workspace",
		Long: `mv copies the archive of a workspace as cp does, and then deletes exactly the
revision that it copied. If that fails both stand, and the error says so; a workspace
that was changed meanwhile stays (exit code 104).` + conditionsHelp,
		Example: `  workdir-mount mv s3://bucket/jobs/job-1 s3://bucket/done/job-1`,
	}, "moved", store.Move)
}

// copier is store.Copy or store.Move.
type copier func(ctx context.Context, src, dst string, opts *store.CopyOptions) (store.Copied, error)

func (a *app) copyCommand(cmd *cobra.Command, word string, do copier) *cobra.Command {
	var f targetFlags
	f.register(cmd.Flags())
	cmd.Args = cobra.ExactArgs(2)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := f.check(cmd.Flags()); err != nil {
			return err
		}
		return changing(func(ctx context.Context) error { return a.copy(ctx, args[0], args[1], &f, word, do) })
	}
	return cmd
}

// copiedWorkspace is the output of cp and mv --json.
type copiedWorkspace struct {
	From storedWorkspace `json:"from"`
	To   storedWorkspace `json:"to"`
}

// within returns the destination of a copy: dst, or, if that ends with a slash, the workspace
// of the source's name beneath it, as cp(1) copies into a directory.
func within(src, dst string) string {
	prefix, options, hasOptions := strings.Cut(dst, "?")
	if !strings.HasSuffix(prefix, "/") {
		return dst
	}
	name, _, _ := strings.Cut(src, "?")
	if u, err := store.ParseURL(src); err == nil {
		name = u.Key // without the version
	}
	dst = prefix + path.Base(name)
	if hasOptions {
		dst += "?" + options
	}
	return dst
}

func (a *app) copy(ctx context.Context, src, dst string, f *targetFlags, word string, do copier) error {
	dst = within(src, dst)
	a.newName(dst)
	bar := a.newProgress()
	done, err := do(ctx, src, dst, &store.CopyOptions{
		Replace:    store.Revision(f.revision),
		ReplaceAny: f.replace,
		Progress: func(done, total int64) {
			bar.update(mount.Progress{Phase: "copying", Bytes: done, Total: total})
		},
	})
	bar.finish()
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, copiedWorkspace{newStoredWorkspace(src, done.From), newStoredWorkspace(dst, done.To)})
	}
	return a.say("%s %s to %s, %s, revision %s", word, store.Redacted(src), store.Redacted(dst), printable.Bytes(done.To.Size), done.To.Revision)
}
