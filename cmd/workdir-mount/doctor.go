package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/doctor"
	"github.com/workdir/workdir/mount"
)

// diagnosis is the output of doctor --json.
type diagnosis struct {
	OK    bool           `json:"ok"`            // no check failed
	URL   string         `json:"url,omitempty"` // without secrets
	Host  []doctor.Check `json:"host"`
	Store []doctor.Check `json:"store,omitempty"`
}

func (a *app) doctorCommand() *cobra.Command {
	var opts doctor.Options
	cmd := &cobra.Command{
		Use:   "doctor [flags] [URL]",
		Short: "Try what this host and a bucket allow",
		Long: `doctor tries what workspaces need of this host and, with a URL, of its bucket or
directory, and says for each "no" what can be done. It mounts an empty workspace for
a moment, and stores, replaces and removes a scratch archive beside the workspace, or
beneath the prefix if the URL ends with a slash. It leaves nothing behind, and looks
at workspaces only.

Exit code: 0 if nothing fails, 102 if something of the host does, else 101.`,
		Example: `  workdir-mount doctor
  workdir-mount doctor s3://bucket/jobs/`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			err := untilSignal(func(ctx context.Context) error { return a.doctor(ctx, args, &opts) })
			a.stopServer(err)
			return err
		},
	}
	cmd.Flags().BoolVar(&opts.Quick, "quick", false, "leave out what moves more than some KiB")
	return cmd
}

func (a *app) doctor(ctx context.Context, args []string, opts *doctor.Options) error {
	d := diagnosis{Host: []doctor.Check{}}
	var at doctor.Target
	for _, url := range args {
		var err error
		if at, err = doctor.ParseTarget(url); err != nil {
			return err
		}
		d.URL = at.URL.Redacted()
	}
	a.heading("host")
	err := mount.Diagnose(ctx, &mount.Options{RunDir: a.runDir, Logger: a.log}, a.reporter(&d.Host))
	if err == nil && len(args) > 0 {
		a.heading(d.URL)
		err = doctor.Diagnose(ctx, at, opts, a.reporter(&d.Store))
	}
	if err != nil {
		return err
	}
	host, bucket := failures(d.Host), failures(d.Store)
	d.OK = host+bucket == 0
	if a.json {
		if err := printJSON(a.stdout, d); err != nil {
			return err
		}
	}
	switch {
	case host > 0:
		return &statusError{code: exitCannotMount, err: errors.New("doctor: " + countOf(host+bucket, "check") + " failed")}
	case bucket > 0:
		return &statusError{code: exitStore, err: errors.New("doctor: " + countOf(bucket, "check") + " failed")}
	}
	return nil
}

func countOf(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func failures(checks []doctor.Check) int {
	n := 0
	for _, c := range checks {
		if c.Status == doctor.Fail {
			n++
		}
	}
	return n
}

func (a *app) heading(text string) {
	if !a.json && !a.quiet {
		_ = printText(a.stdout, text+"\n")
	}
}

// reporter collects checks, and prints each unless the output is JSON.
func (a *app) reporter(to *[]doctor.Check) func(doctor.Check) {
	return func(c doctor.Check) {
		*to = append(*to, c)
		if a.json || a.quiet && c.Status != doctor.Fail {
			return
		}
		text := fmt.Sprintf("  %-4s  %-18s  %s\n", c.Status, c.Name, c.Detail)
		if c.Fix != "" {
			text += fmt.Sprintf("  %-4s  %-18s  fix: %s\n", "", "", c.Fix)
		}
		_ = printText(a.stdout, text)
	}
}
