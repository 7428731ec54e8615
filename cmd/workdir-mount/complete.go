package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// completionTimeout is how long a shell waits for names from a store; after that it gets none.
const completionTimeout = 2 * time.Second

// argument completes an argument of a command.
type argument func(ctx context.Context, word typedWord) ([]string, cobra.ShellCompDirective)

// typedWord is a shell's request to complete an argument.
type typedWord struct {
	before []string // the arguments before it
	typed  string   // its beginning
	runDir string   // as for the command itself
}

// arguments are those of each command, in their order.
var arguments = map[string][]argument{
	"exec":       {urlArgument},
	"mount":      {urlArgument, dirArgument},
	"commit":     {mountArgument},
	"checkpoint": {mountArgument},
	"abandon":    {mountArgument},
	"umount":     {mountArgument},
	"status":     {mountArgument},
	"ls":         {urlArgument},
	"stat":       {urlArgument},
	"prune":      {urlArgument},
	"du":         {urlArgument},
	"rm":         {urlArgument},
	"cp":         {urlArgument, urlArgument},
	"fork":       {urlArgument, urlArgument},
	"mv":         {urlArgument, urlArgument},
	"export":     {urlArgument, fileArgument},
	"import":     {fileArgument, urlArgument},
	"cat":        {urlArgument, pathArgument},
	"tree":       {urlArgument, pathArgument},
	"blame":      {urlArgument, pathArgument},
	"diff":       {urlArgument, urlArgument},
	"verify":     {urlArgument},
	"log":        {urlArgument, pathArgument},
	"ui":         {urlArgument},
	"doctor":     {urlArgument},

	"rollback": {urlArgument, commitArgument},
}

// completeArguments sets the completion of the commands, and adds the command that prints the
// shell scripts.
func completeArguments(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		if args, ok := arguments[cmd.Name()]; ok {
			cmd.ValidArgsFunction = completer(args)
		}
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(completionCommand())
}

// moreArguments complete all further arguments.
var moreArguments = map[string]argument{
	"exec":   fileArgument, // of the command that it runs
	"cat":    pathArgument,
	"rm":     urlArgument,
	"umount": mountArgument,
}

func completer(args []argument) cobra.CompletionFunc {
	return func(cmd *cobra.Command, before []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		next := moreArguments[cmd.Name()]
		if len(before) < len(args) {
			next = args[len(before)]
		}
		if next == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(context.Background(), completionTimeout)
		defer cancel()
		runDir, _ := cmd.Flags().GetString("run-dir") // every command has it
		return next(ctx, typedWord{before, typed, runDir})
	}
}

// urlArgument completes the URL of a workspace or a prefix.
func urlArgument(ctx context.Context, word typedWord) ([]string, cobra.ShellCompDirective) {
	found := inTime(ctx, func() []string {
		urls, _ := store.Complete(ctx, word.typed) // a shell cannot show an error
		return urls
	})
	return found, orMore(found)
}

// commitArgument completes the versions of the workspace that the first argument names.
func commitArgument(ctx context.Context, word typedWord) ([]string, cobra.ShellCompDirective) {
	found := inTime(ctx, func() (ids []string) {
		versions, _ := workspace.Versions(ctx, word.before[0]) // a shell cannot show an error
		for _, v := range versions {
			if strings.HasPrefix(string(v.ID), word.typed) {
				ids = append(ids, string(v.ID))
			}
		}
		return ids
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}

// maxPaths is the maximum number of paths offered.
const maxPaths = 1000

// pathArgument completes a path in the workspace that the first argument names.
func pathArgument(ctx context.Context, word typedWord) ([]string, cobra.ShellCompDirective) {
	found := inTime(ctx, func() []string {
		entries, _ := workspace.Tree(ctx, word.before[0], "", nil) // a shell cannot show an error
		return pathsFrom(entries, word.typed)
	})
	return found, orMore(found)
}

// pathsFrom returns the paths of one level that begin with what was typed.
func pathsFrom(entries []workspace.Entry, typed string) []string {
	level := strings.Count(typed, "/")
	var found []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Path, typed) || strings.Count(e.Path, "/") != level || len(found) == maxPaths {
			continue
		}
		if e.Kind == workspace.Directory {
			e.Path += "/"
		}
		found = append(found, e.Path)
	}
	return found
}

// orMore keeps the shell from ending the word if one of the completions can be continued.
func orMore(found []string) cobra.ShellCompDirective {
	directive := cobra.ShellCompDirectiveNoFileComp
	goesOn := func(url string) bool {
		path, _, _ := strings.Cut(url, "?")
		return strings.HasSuffix(path, "/")
	}
	if slices.ContainsFunc(found, goesOn) {
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	return directive
}

// inTime returns the result of find, or nothing if ctx ends first. An SDK that looks for
// credentials may ignore ctx.
func inTime(ctx context.Context, find func() []string) []string {
	done := make(chan []string, 1)
	go func() { done <- find() }()
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
		return nil
	}
}

// mountArgument completes the path of a mount of this user; or of any directory, if no mount
// matches.
func mountArgument(ctx context.Context, word typedWord) ([]string, cobra.ShellCompDirective) {
	found := inTime(ctx, func() []string {
		mounts, _ := mount.List(ctx, word.runDir) // a shell cannot show an error
		var paths []string
		for _, m := range mounts {
			if strings.HasPrefix(m.Path, word.typed) && !slices.Contains(word.before, m.Path) {
				paths = append(paths, m.Path)
			}
		}
		return paths
	})
	if len(found) == 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func dirArgument(context.Context, typedWord) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func fileArgument(context.Context, typedWord) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// shells are the shells that completion supports.
var shells = map[string]func(root *cobra.Command, w io.Writer) error{
	"bash": func(root *cobra.Command, w io.Writer) error {
		if err := root.GenBashCompletionV2(w, true); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, bashWordBreaks, root.Name())
		return err
	},
	"zsh":  func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
	"fish": func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
}

// bashWordBreaks replaces a function in cobra's script, which calls it for ":" and then for
// "=". Bash breaks words at both, and replaces only the part after the last one, so a
// completion must be just that part. A URL can have both.
const bashWordBreaks = `
__%[1]s_handle_special_char()
{
    [[ $2 == "=" ]] || return 0
    local breaks="" tail word idx
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=":"
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+="="
    [[ -n $breaks ]] || return 0
    tail=${1##*[$breaks]}
    word=${1%%"$tail"}
    for idx in "${!COMPREPLY[@]}"; do
        COMPREPLY[idx]=${COMPREPLY[idx]#"$word"}
    done
}
`

func completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what a shell needs to complete commands, URLs and names in stores",
		Example: `  source <(workdir-mount completion bash)    # needs the package bash-completion
  workdir-mount completion zsh > "${fpath[1]}/_workdir-mount"
  workdir-mount completion fish > ~/.config/fish/completions/workdir-mount.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return shells[args[0]](cmd.Root(), cmd.OutOrStdout())
		},
	}
}
