package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/mount"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return printJSON(a.stdout, map[string]string{"version": mount.Version(), "go": runtime.Version(), "platform": platform})
			}
			_, err := fmt.Fprintln(a.stdout, versionLine())
			return err
		},
	}
}

const platform = runtime.GOOS + "/" + runtime.GOARCH

// versionLine is the output of version and --version.
func versionLine() string {
	return "workdir-mount " + mount.Version() + " " + runtime.Version() + " " + platform
}
