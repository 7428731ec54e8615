// Command workdir-mount keeps directories as archives in object storage and
// mounts them where a tool needs them.
//
// Each command is a file here; what they share is the [app]. Nothing in this
// package decides what is stored or when: that is package mount. What is decided
// here is what a user sees: the flags, the words, and the exit codes, which are a
// stable interface (docs/cli.md).
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
