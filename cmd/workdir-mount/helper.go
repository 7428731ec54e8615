package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Under these names, in /sbin, the program is a helper of mount(8) and umount(8). umount(8)
// looks for the helper of the type in the mount table, "fuse.workdir".
const (
	mountHelper  = "mount.workdir"
	umountHelper = "umount.fuse.workdir"
)

// Exit codes of the helpers, as in mount(8).
const (
	helperUsage  = 1
	helperFailed = 32
)

// helperCommand returns the command line that a helper translates to; ok is false for the
// program under any other name. If there is no command line there is nothing to do, or err
// says why.
func helperCommand(argv []string) (args []string, ok bool, err error) {
	switch filepath.Base(argv[0]) {
	case mountHelper:
		args, err = mountCommandLine(argv[1:])
	case umountHelper:
		args, err = umountCommandLine(argv[1:])
	default:
		return nil, false, nil
	}
	return args, true, err
}

// mountCommandLine translates URL DIR [-fnsv] [-N namespace] [-t type] [-o options].
func mountCommandLine(argv []string) ([]string, error) {
	flags := pflag.NewFlagSet(mountHelper, pflag.ContinueOnError)
	flags.SortFlags = false
	fake := flags.BoolP("fake", "f", false, "")
	sloppy := flags.BoolP("sloppy", "s", false, "")
	verbose := flags.BoolP("verbose", "v", false, "")
	flags.BoolP("no-mtab", "n", false, "")
	flags.StringP("type", "t", "", "")
	namespace := flags.StringP("namespace", "N", "", "")
	options := flags.StringArrayP("options", "o", nil, "")
	if err := flags.Parse(argv); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() != 2:
		return nil, fmt.Errorf("usage: %s URL DIR [-fnsv] [-o OPTIONS]", mountHelper)
	case *namespace != "":
		return nil, errors.New("-N is not supported; run mount in the namespace (nsenter)")
	case *fake:
		return nil, nil
	}
	args := []string{"mount"}
	if *verbose {
		args = append(args, "--verbose")
	}
	more, err := mountOptions(strings.Join(*options, ","), *sloppy)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(more, choosesView) {
		args = append(args, "--view=fuse") // an overlay has another type in the mount table, for which umount(8) has no helper
	}
	return slices.Concat(args, more, []string{"--", flags.Arg(0), flags.Arg(1)}), nil
}

func choosesView(arg string) bool { return arg == "--plain" || strings.HasPrefix(arg, "--view=") }

// ignoredOptions are for mount(8), systemd or other file systems, or are the default
// behaviour.
var ignoredOptions = []string{
	"defaults", "auto", "noauto", "nofail", "user", "nouser", "users", "owner", "group", "_netdev",
	"rw", "nosuid", "nodev", "exec", "async", "atime", "relatime", "noatime", "diratime", "nodiratime", "norelatime", "nolazytime",
}

// otherNames are options with a different name in mount(8).
var otherNames = map[string]string{"ro": "read-only"}

// mountOptions translates options, such as ro,max-bytes=1GiB, to flags of the command mount.
// Unless sloppy, an unknown option is an error.
func mountOptions(options string, sloppy bool) ([]string, error) {
	flags := (&app{}).mountCommand().Flags()
	global := (&app{}).rootCommand().PersistentFlags()
	var args []string
	for option := range strings.SplitSeq(options, ",") {
		name, value, hasValue := strings.Cut(option, "=")
		if option == "" || slices.Contains(ignoredOptions, option) || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") || name == "comment" {
			continue
		}
		name = strings.ReplaceAll(name, "_", "-")
		if other, has := otherNames[name]; has {
			name = other
		}
		flag := flags.Lookup(name)
		if flag == nil {
			flag = global.Lookup(name)
		}
		switch {
		case name == "foreground" || flag == nil && !sloppy:
			return nil, fmt.Errorf("unknown option %q%s", option, didYouMean(name, flagNames(flags)))
		case flag == nil:
			continue
		case !hasValue && flag.NoOptDefVal == "":
			return nil, fmt.Errorf("the option %q needs a value", option)
		}
		arg := "--" + name
		if hasValue {
			arg += "=" + value
		}
		args = append(args, arg)
	}
	return args, nil
}

func flagNames(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}

// umountCommandLine translates DIR [-flnrv] [-N namespace] [-t type]. Forced and lazy unmounts
// are left to umount -i.
func umountCommandLine(argv []string) ([]string, error) {
	flags := pflag.NewFlagSet(umountHelper, pflag.ContinueOnError)
	force := flags.BoolP("force", "f", false, "")
	lazy := flags.BoolP("lazy", "l", false, "")
	for _, ignored := range []string{"n", "r", "v"} {
		flags.BoolP("ignored-"+ignored, ignored, false, "")
	}
	flags.StringP("type", "t", "", "")
	flags.StringP("namespace", "N", "", "")
	switch err := flags.Parse(argv); {
	case err != nil:
		return nil, err
	case flags.NArg() != 1:
		return nil, fmt.Errorf("usage: %s DIR", umountHelper)
	case *force || *lazy:
		return nil, errors.New("a forced or lazy unmount stores nothing; if that is meant, use umount -i -l")
	}
	return []string{"umount", "--", flags.Arg(0)}, nil
}

// runHelper runs as a helper of mount(8) or umount(8), and returns one of their exit codes.
func runHelper(args []string, err error) int {
	name := filepath.Base(os.Args[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return helperUsage
	}
	if args == nil {
		return 0
	}
	os.Args = append([]string{"workdir-mount"}, args...) // the name of the mount's processes
	switch run(args, os.Stdout, os.Stderr) {
	case 0:
		return 0
	case exitUsage:
		return helperUsage
	}
	return helperFailed
}
