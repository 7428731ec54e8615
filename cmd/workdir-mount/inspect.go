package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/workspace"
)

func (a *app) catCommand() *cobra.Command {
	var at atFlag
	cmd := &cobra.Command{
		Use:   "cat [flags] URL PATH...",
		Short: "Print files of a workspace",
		Long: `cat prints the content of files of a workspace, one after the other. Symbolic links
are followed as long as they stay in the workspace.

The whole archive is read and checked before anything is printed. With --json a list
of the files goes to standard error.`,
		Example: `  workdir-mount cat s3://bucket/jobs/job-1 results/summary.txt`,
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			url, err := at.of(args[0])
			if err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error { return a.cat(ctx, url, args[1:]) })
		},
	}
	at.register(cmd.Flags())
	return cmd
}

func (a *app) cat(ctx context.Context, url string, paths []string) error {
	w := a.newWork()
	opts := w.options()
	var entries []workspace.Entry
	err := a.toStdout(ctx, func(out io.Writer) (err error) {
		entries, err = workspace.Cat(ctx, url, paths, wiping{w.bar, out}, &opts)
		return err
	})
	w.finish()
	if err != nil || !a.json {
		return err
	}
	return printJSON(a.stderr, entries)
}

// wiping is an output that may be the terminal that shows the progress.
type wiping struct {
	bar *progress
	out io.Writer
}

func (w wiping) Write(p []byte) (int, error) {
	w.bar.finish()
	return w.out.Write(p)
}

// pathIn is the path in the arguments URL [PATH]; "" for the whole workspace.
func pathIn(args []string) string {
	if len(args) > 1 {
		return args[1]
	}
	return ""
}

func (a *app) treeCommand() *cobra.Command {
	var long bool
	var at atFlag
	cmd := &cobra.Command{
		Use:   "tree [flags] URL [PATH]",
		Short: "List what is in a workspace",
		Long: `tree lists the entries of a workspace at and beneath PATH, a line each, directories
with a slash at the end. A name that a terminal cannot show as it is, is quoted.`,
		Example: `  workdir-mount tree file:///tmp/ws/job-1
  workdir-mount tree -l s3://bucket/jobs/job-1 src`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			url, err := at.of(args[0])
			if err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error { return a.tree(ctx, url, pathIn(args), long) })
		},
	}
	at.register(cmd.Flags())
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show permissions, sizes, times and where links lead")
	return cmd
}

func (a *app) tree(ctx context.Context, url, path string, long bool) error {
	w := a.newWork()
	opts := w.options()
	entries, err := workspace.Tree(ctx, url, path, &opts)
	w.finish()
	if err != nil {
		return err
	}
	return a.toStdout(ctx, func(w io.Writer) error {
		out := bufio.NewWriter(w)
		if err := a.printEntries(out, entries, long); err != nil {
			return err
		}
		return out.Flush()
	})
}

func (a *app) printEntries(out io.Writer, entries []workspace.Entry, long bool) error {
	switch {
	case a.json:
		return printJSON(out, entries)
	case !long:
		for _, e := range entries {
			fmt.Fprintln(out, shown(e))
		}
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, e := range entries {
		fmt.Fprintf(w, "%s\t%s\t%s\t  %s\n", modeWord(e), sizeWord(e), e.ModTime.Local().Format(time.DateTime), shown(e)+leadsTo(e))
	}
	return w.Flush()
}

func shown(e workspace.Entry) string {
	if e.Kind == workspace.Directory {
		return workspace.Printable(e.Path) + "/"
	}
	return workspace.Printable(e.Path)
}

func leadsTo(e workspace.Entry) string {
	if e.Kind != workspace.Symlink {
		return ""
	}
	return " -> " + workspace.Printable(e.Target)
}

// sizeWord is the size of a file, or the number of a device, as in ls(1).
func sizeWord(e workspace.Entry) string {
	switch e.Kind {
	case workspace.File:
		return printable.Bytes(e.Size)
	case workspace.CharDevice, workspace.BlockDevice:
		return e.Device
	}
	return "-"
}

var kindLetters = map[workspace.Kind]byte{
	workspace.File: '-', workspace.Directory: 'd', workspace.Symlink: 'l', workspace.FIFO: 'p',
	workspace.CharDevice: 'c', workspace.BlockDevice: 'b', workspace.Socket: 's',
}

// modeWord is kind and permissions as in ls(1).
func modeWord(e workspace.Entry) string {
	word := []byte("?rwxrwxrwx")
	word[0] = kindLetters[e.Kind]
	for i := range 9 {
		if e.Mode&(1<<(8-i)) == 0 {
			word[1+i] = '-'
		}
	}
	for i, special := range []struct {
		bit    workspace.Mode
		letter byte
	}{{unix.S_ISUID, 's'}, {unix.S_ISGID, 's'}, {unix.S_ISVTX, 't'}} {
		if e.Mode&special.bit == 0 {
			continue
		}
		if at := 3 * (i + 1); word[at] == 'x' {
			word[at] = special.letter
		} else {
			word[at] = special.letter - 'a' + 'A'
		}
	}
	return string(word)
}
