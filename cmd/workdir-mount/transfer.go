package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// standard is the name of standard input or output.
const standard = "-"

// work is the progress of a command on a whole workspace, and its warnings, which are also
// part of the result.
type work struct {
	app      *app
	bar      *progress
	warnings []string
}

func (a *app) newWork() *work { return &work{app: a, bar: a.newProgress()} }

// finish ends the progress and prints the warnings.
func (w *work) finish() {
	w.bar.finish()
	for _, text := range w.warnings {
		w.app.log.Warn(text)
	}
}

func (w *work) options() workspace.Options {
	return workspace.Options{
		Warn: func(warning archive.Warning) { w.warnings = append(w.warnings, warning.String()) },
		Progress: func(p workspace.Progress) {
			w.bar.update(mount.Progress{Phase: mount.Phase(p.Phase), Bytes: p.Done, Total: p.Total})
		},
	}
}

type exportFlags struct {
	owner   string
	dev     bool
	replace bool
	format  string
	path    string
}

// plainFormat is the one value of --format.
const plainFormat = "plain"

func (f *exportFlags) check(to string) error {
	switch format := otherFormat(to); {
	case format != "":
		return &statusError{code: exitUsage, err: fmt.Errorf("export makes no %s archive; write a name that ends in .tar.gz, or %s/ for a directory of that name", format, to)}
	case !hasParent(to):
		return &statusError{code: exitUsage, err: fmt.Errorf("export to %s: the directory %s does not exist; make it first", to, filepath.Dir(filepath.Clean(to)))}
	case f.path != "" && (to == standard || isArchiveName(to)):
		return badFlag("--path", "is for a directory, and this export makes an archive")
	case f.owner != "" && f.owner != "keep":
		return badFlag("--owner", fmt.Sprintf("can only be keep, not %q", f.owner))
	case f.format != "" && f.format != plainFormat:
		return badFlag("--format", fmt.Sprintf("can only be %s, not %q", plainFormat, f.format))
	case f.format != "" && to != standard && !isArchiveName(to):
		return badFlag("--format", "is for an archive, and this export makes a directory")
	}
	return nil
}

func (a *app) exportCommand() *cobra.Command {
	var f exportFlags
	var at atFlag
	cmd := &cobra.Command{
		Use:   "export [flags] URL DIR|FILE.tar.gz|-",
		Short: "Write a workspace to a directory or a file",
		Long: `export makes the files of a workspace in DIR, which must not exist yet or be empty:
content, permissions, times, links, FIFOs, holes and extended attributes user.*. They
belong to this user, without set-user-ID bits, unless root asks for --owner keep. With
--path they are those of one directory of the workspace, and nothing else is read.

If the name ends in .tar.gz or .tgz and is no directory, the archive itself is
checked and stored in that file, and with - it goes to standard output; if the exit
code is not 0 then, it is not to be used. The file must not exist yet, unless
--replace is given. With --format plain the archive is packed anew as one compressed
stream, with the same files and commit log, and without the index.`,
		Example: `  workdir-mount export s3://bucket/jobs/job-1 out
  workdir-mount export file:///tmp/ws/job-1 job-1.tar.gz
  workdir-mount export gs://bucket/job - | tar -tz`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(args[1]); err != nil {
				return err
			}
			url, err := at.of(args[0])
			if err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error { return a.export(ctx, url, args[1], &f) })
		},
	}
	at.register(cmd.Flags())
	cmd.Flags().StringVar(&f.owner, "owner", "", "keep: the files belong to those whom the archive names; for root (default: this user)")
	cmd.Flags().StringVar(&f.path, "path", "", "export the directory `PATH` of the workspace (default: all of it)")
	cmd.Flags().BoolVar(&f.dev, "dev", false, "make device nodes; for root (default: an archive with one is refused)")
	cmd.Flags().StringVar(&f.format, "format", "", "plain: pack the archive as one compressed stream without an index (default: the bytes as they are stored)")
	cmd.Flags().BoolVar(&f.replace, "replace", false, "replace FILE.tar.gz if it is there")
	return cmd
}

// exportedWorkspace is the output of export --json.
type exportedWorkspace struct {
	URL      string         `json:"url"`
	To       string         `json:"to"`
	Revision store.Revision `json:"revision"`
	Entries  int64          `json:"entries,omitempty"` // of a directory
	Bytes    int64          `json:"bytes"`             // content of the directory, or of the archive
	Warnings []string       `json:"warnings,omitempty"`
}

func (a *app) export(ctx context.Context, url, to string, f *exportFlags) error {
	if to == standard && isTerminal(a.stdout) {
		return &statusError{code: exitUsage, err: errors.New("the archive is not written to a terminal; send it to a file or a program")}
	}
	w := a.newWork()
	opts := &workspace.ExportOptions{Options: w.options(), KeepOwner: f.owner == "keep", Devices: f.dev, Replace: f.replace, Plain: f.format == plainFormat, Path: f.path}
	done, err := a.exportTo(ctx, url, to, opts)
	w.finish()
	if err != nil {
		return err
	}
	out := exportedWorkspace{store.Redacted(url), to, done.Info.Revision, done.Entries, done.Bytes, w.warnings}
	switch {
	case a.json:
		return printJSON(a.resultsBeside(to), out)
	case to == standard:
		return nil
	case done.Entries == 0 && done.Bytes > 0:
		return a.say("exported %s to %s, %s", out.URL, to, printable.Bytes(done.Bytes))
	}
	return a.say("exported %s to %s, %s of %s", out.URL, to, entryCount(done.Entries), printable.Bytes(done.Bytes))
}

// resultsBeside is the output for results, since standard output may be taken.
func (a *app) resultsBeside(to string) io.Writer {
	if to == standard {
		return a.stderr
	}
	return a.stdout
}

func entryCount(n int64) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func (a *app) exportTo(ctx context.Context, url, to string, opts *workspace.ExportOptions) (done workspace.Exported, err error) {
	switch {
	case to == standard:
		err = a.toStdout(ctx, func(out io.Writer) (err error) {
			done, err = workspace.ExportArchive(ctx, url, out, opts)
			return err
		})
		return done, err
	case isArchiveName(to):
		return workspace.ExportFile(ctx, url, to, opts)
	}
	return workspace.Export(ctx, url, to, opts)
}

// otherFormats are archive formats of other tools, by the ends of their names.
var otherFormats = []string{".zip", ".tar", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".7z"}

// otherFormat returns the end of a name of an archive format that export cannot write; "" for
// other names, and if a directory is meant.
func otherFormat(path string) string {
	if strings.HasSuffix(path, "/") || isDirectory(path) {
		return ""
	}
	at := slices.IndexFunc(otherFormats, func(end string) bool { return strings.HasSuffix(path, end) })
	if at < 0 {
		return ""
	}
	return otherFormats[at]
}

// hasParent reports whether the parent of a path exists.
func hasParent(path string) bool {
	return path == standard || !errors.Is(statError(filepath.Dir(filepath.Clean(path))), os.ErrNotExist)
}

func statError(path string) error {
	_, err := os.Stat(path)
	return err
}

func isDirectory(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// isArchiveName reports whether an export goes to a file.
func isArchiveName(path string) bool {
	if isDirectory(path) {
		return false
	}
	return strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz")
}

type importFlags struct {
	targetFlags
	portable bool
	dev      bool
	keep     keepFlags
	message  string
}

func (a *app) importCommand() *cobra.Command {
	var f importFlags
	cmd := &cobra.Command{
		Use:   "import [flags] DIR|FILE|- URL",
		Short: "Store a directory or an archive as a workspace",
		Long: `import stores a directory with all that is in it, or what is in a tar.gz by any
program, as a workspace. With - the archive comes from standard input. What cannot be
kept is left out with a warning; a file that changes while it is read is an error.` + conditionsHelp,
		Example: `  workdir-mount import src s3://bucket/jobs/job-1
  workdir-mount import --replace backup.tar.gz file:///tmp/ws/job-1
  tar -cz . | workdir-mount import - gs://bucket/job`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cmp.Or(f.check(cmd.Flags()), checkMessage(f.message)); err != nil {
				return err
			}
			return changing(func(ctx context.Context) error { return a.importFrom(ctx, args[0], args[1], &f) })
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVar(&f.portable, "portable", false, "refuse to store what the Python temporal-workdir cannot read")
	cmd.Flags().BoolVar(&f.dev, "dev", false, "accept device nodes")
	f.keep.register(cmd.Flags())
	cmd.Flags().StringVarP(&f.message, "message", "m", "", "what the log is to say of the commit")
	return cmd
}

// importedWorkspace is the output of import --json.
type importedWorkspace struct {
	URL      string           `json:"url"`
	Revision store.Revision   `json:"revision"`
	CommitID archive.CommitID `json:"commitId"`
	Entries  int64            `json:"entries"`
	Bytes    int64            `json:"bytes"` // of content
	Size     int64            `json:"size"`  // of the archive
	Warnings []string         `json:"warnings,omitempty"`
}

func (a *app) importFrom(ctx context.Context, from, url string, f *importFlags) error {
	a.newName(url)
	w := a.newWork()
	done, err := importInto(ctx, from, url, &workspace.ImportOptions{
		Options: w.options(), Replace: store.Revision(f.revision), ReplaceAny: f.replace,
		Portable: f.portable, Devices: f.dev, Tool: "workdir/" + mount.Version(),
		Keep: f.keep.keep(), Message: f.message,
	})
	w.finish()
	if err != nil {
		return err
	}
	out := importedWorkspace{store.Redacted(url), done.Info.Revision, done.CommitID, done.Entries, done.Bytes, done.Info.Size, w.warnings}
	if a.json {
		return printJSON(a.stdout, out)
	}
	return a.say("imported %s of %s to %s, %s archive, revision %s", entryCount(out.Entries), printable.Bytes(out.Bytes), out.URL, printable.Bytes(out.Size), out.Revision)
}

func importInto(ctx context.Context, from, url string, opts *workspace.ImportOptions) (workspace.Imported, error) {
	if from == standard {
		if isTerminal(os.Stdin) {
			return workspace.Imported{}, &statusError{code: exitUsage, err: errors.New("an archive is not read from a terminal; redirect standard input from a file or a program")}
		}
		return workspace.ImportArchive(ctx, os.Stdin, url, opts)
	}
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return workspace.Imported{}, &statusError{code: exitUsage, err: err}
	}
	return workspace.Import(ctx, from, url, opts)
}
