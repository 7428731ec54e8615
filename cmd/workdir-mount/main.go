// Command workdir-mount keeps directories as archives in object storage and
// mounts them where a tool needs them.
//
// Each command is a file here; they share the [app]. Package mount, not this one, decides what
// is stored and when. This package determines what a user sees: the flags, the texts, and the
// exit codes, which are a stable interface (docs/cli.md).
package main

import (
	"os"

	"github.com/workdir/workdir/mount"
)

func main() {
	mount.Init()
	if os.Getpid() == 1 {
		os.Exit(asInit())
	}
	if args, ok, err := helperCommand(os.Args); ok {
		os.Exit(runHelper(args, err))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
