package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/workspace"
)

// exitDifferent is the exit code of diff if two workspaces differ, as in diff(1).
const exitDifferent = 1

// diffFlags select how differences are shown: as a line each, or in one of these forms.
type diffFlags struct {
	patch    bool
	stat     bool
	nameOnly bool
	color    string
}

func (f *diffFlags) register(flags *pflag.FlagSet) {
	flags.BoolVar(&f.stat, "stat", false, "show how many lines of each file are new and gone")
	flags.BoolVar(&f.nameOnly, "name-only", false, "show the paths alone")
	flags.StringVar(&f.color, "color", "auto", "colours: always, never, or auto, on a terminal and unless NO_COLOR is set")
}

func (f *diffFlags) check() error {
	if f.patch && f.stat || f.patch && f.nameOnly || f.stat && f.nameOnly {
		return badFlag("--stat", "is one way to show differences; use one of it, --name-only and the lines themselves")
	}
	switch f.color {
	case "always", "never", "auto":
		return nil
	}
	return badFlag("--color", fmt.Sprintf("is always, never or auto, and not %q", f.color))
}

// colored reports whether output to out has colours.
func (f *diffFlags) colored(out io.Writer) bool {
	return f.color == "always" || f.color == "auto" && os.Getenv("NO_COLOR") == "" && isTerminal(out)
}

func (a *app) diffCommand() *cobra.Command {
	var at atFlag
	var f diffFlags
	var path string
	cmd := &cobra.Command{
		Use:   "diff [flags] A [B]",
		Short: "Compare two workspaces, versions or directories",
		Long: `diff compares two workspaces by names, kinds, permissions, sizes, content and where
links lead, and prints a line for each difference: + is in B only, - in A only, M in
both. Times, owners and extended attributes do not count. -u shows what became of the lines of
text files, in a form that patch -p1 takes.

A and B are workspaces (URL), versions (URL@COMMIT) or plain directories, mounts among them: a
path without a scheme that is a directory, and has no archive of that name beside it, or a slash
at its end. With --at A is a version of the one workspace that is named.

The exit code is 0 if they are equal, 1 if they differ, and 100 or more if they could
not be compared.`,
		Example: `  workdir-mount diff s3://bucket/jobs/job-1 file:///tmp/ws/job-1
  workdir-mount diff -u --at 5f1dc0de s3://bucket/jobs/job-1
  workdir-mount diff --stat s3://bucket/jobs/job-1 /mnt/job-1/`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			if (len(args) == 1) != (at.commit != "") {
				return badFlag("--at", "is for one workspace, of which it names a version; without it there are two")
			}
			if err := f.check(); err != nil {
				return err
			}
			sideA, err := at.of(args[0])
			if err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error { return a.diff(ctx, sideA, args[len(args)-1], path, &f) })
		},
	}
	at.register(cmd.Flags())
	f.register(cmd.Flags())
	cmd.Flags().BoolVarP(&f.patch, "unified", "u", false, "show the lines of text files that differ")
	cmd.Flags().StringVar(&path, "path", "", "compare what is at and beneath `PATH` only")
	return cmd
}

func (a *app) diff(ctx context.Context, sideA, sideB, path string, f *diffFlags) error {
	for _, side := range []string{sideA, sideB} {
		if side == workspace.Nothing {
			return badFlag("diff", "needs the names of two workspaces, and one is empty")
		}
	}
	differences, err := a.differences(ctx, sideA, sideB, path, f)
	if err != nil {
		return err
	}
	err = a.toStdout(ctx, func(out io.Writer) error { return a.printDifferences(out, differences, f) })
	if err != nil {
		return err
	}
	if len(differences) > 0 {
		return &statusError{code: exitDifferent}
	}
	return nil
}

// differences compares, and warns of anything that could not be compared.
func (a *app) differences(ctx context.Context, sideA, sideB, path string, f *diffFlags) ([]workspace.Difference, error) {
	w := a.newWork()
	opts := &workspace.DiffOptions{Options: w.options(), Path: strings.Trim(path, "/"), Patches: f.patch || f.stat}
	differences, err := workspace.Diff(ctx, sideA, sideB, opts)
	w.finish()
	return differences, err
}

func (a *app) printDifferences(w io.Writer, differences []workspace.Difference, f *diffFlags) error {
	out := bufio.NewWriter(w)
	switch {
	case a.json:
		if differences == nil {
			differences = []workspace.Difference{}
		}
		if err := printJSON(out, differences); err != nil {
			return err
		}
	case a.quiet:
	case f.stat:
		printStat(out, differences)
	default:
		p := &patchPrinter{out: out, colors: f.colored(a.stdout), escape: isTerminal(a.stdout)}
		for i := range differences {
			p.print(&differences[i], f)
		}
	}
	return out.Flush()
}

// Colours of a terminal (ECMA-48, SGR).
const (
	plain = "\x1b[m"
	bold  = "\x1b[1m"
	red   = "\x1b[31m"
	green = "\x1b[32m"
	cyan  = "\x1b[36m"
)

// patchPrinter prints differences.
type patchPrinter struct {
	out    *bufio.Writer // keeps its first error
	colors bool
	escape bool // escape sequences that a terminal would interpret
}

func (p *patchPrinter) print(d *workspace.Difference, f *diffFlags) {
	switch {
	case f.nameOnly:
		fmt.Fprintln(p.out, workspace.Printable(d.Path))
	case !f.patch:
		fmt.Fprintln(p.out, *d)
	case d.Patch == nil:
		p.line(bold, d.String()+"\n")
	case d.Patch.Binary:
		p.line(bold, fmt.Sprintf("Binary files differ: %s\n", d))
	default:
		if len(d.What) > 0 && d.What[0] == "mode" {
			p.line(bold, d.String()+"\n")
		}
		p.patch(d.Patch.Text)
	}
}

// patch prints the lines of a patch. The first two are names.
func (p *patchPrinter) patch(text string) {
	n := 0
	for line := range strings.Lines(text) {
		color := ""
		switch n++; {
		case n <= 2:
			color = bold
		case line[0] == '+':
			color = green
		case line[0] == '-':
			color = red
		case line[0] == '@':
			color = cyan
		}
		p.line(color, line)
	}
}

func (p *patchPrinter) line(color, text string) {
	if p.escape {
		text = printable.Text(text)
	}
	if !p.colors || color == "" {
		fmt.Fprint(p.out, text)
		return
	}
	fmt.Fprint(p.out, color, strings.TrimSuffix(text, "\n"), plain, "\n")
}

// statWidth is the maximum length of a row of signs.
const statWidth = 40

// printStat shows how much of each file differs, as git does.
func printStat(out io.Writer, differences []workspace.Difference) {
	width, most, inserted, deleted := 0, 0, 0, 0
	for _, d := range differences {
		width = max(width, len([]rune(workspace.Printable(d.Path))))
		if d.Patch != nil {
			most = max(most, d.Patch.Inserted+d.Patch.Deleted)
			inserted += d.Patch.Inserted
			deleted += d.Patch.Deleted
		}
	}
	for i := range differences {
		fmt.Fprintf(out, " %-*s | %s\n", width, workspace.Printable(differences[i].Path), changeOf(&differences[i], most))
	}
	if len(differences) > 0 {
		fmt.Fprintf(out, " %d changed, %d insertions(+), %d deletions(-)\n", len(differences), inserted, deleted)
	}
}

// changeOf is the change of one path in a line of --stat. most is that of the file that
// differs most.
func changeOf(d *workspace.Difference, most int) string {
	switch {
	case d.Patch == nil:
		return fmt.Sprintf("%s %s", d.Change, strings.TrimPrefix(d.String()[len("M "):], workspace.Printable(d.Path)+" "))
	case d.Patch.Binary:
		return fmt.Sprintf("binary, %d -> %d bytes", sizeOf(d.A), sizeOf(d.B))
	}
	scaled := func(n int) int {
		if most <= statWidth || n == 0 {
			return n
		}
		return max(1, n*statWidth/most)
	}
	return fmt.Sprintf("%d %s%s", d.Patch.Inserted+d.Patch.Deleted,
		strings.Repeat("+", scaled(d.Patch.Inserted)), strings.Repeat("-", scaled(d.Patch.Deleted)))
}

func sizeOf(e *workspace.Entry) int64 {
	if e == nil {
		return 0
	}
	return e.Size
}
