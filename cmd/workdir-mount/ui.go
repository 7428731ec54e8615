package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/ui"
)

// uiFlags are the flags of ui.
type uiFlags struct {
	ui.Options
	port     uint16
	static   string
	maxPages int
}

func (a *app) uiCommand() *cobra.Command {
	var f uiFlags
	cmd := &cobra.Command{
		Use:   "ui [flags] [PREFIX-URL]",
		Short: "Show workspaces in a browser",
		Long: `ui serves pages on 127.0.0.1 until it is interrupted, and prints their address: the
workspaces beneath PREFIX-URL, the commits of each with who made them and what changed,
the files in it, and the mounts of this host as they change; without PREFIX-URL the mounts
alone. The address has a token in it,
and whoever has that reads what this command can read: do not pass it on. The pages load
nothing from elsewhere.

With --static the pages are written to a directory instead, to be kept or served as
files.`,
		Example: `  workdir-mount ui s3://bucket/jobs
  workdir-mount ui --temporal-ui http://localhost:8233 file:///tmp/ws
  workdir-mount ui --static report file:///tmp/ws`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return err
			}
			f.RunDir = a.runDir
			prefix := strings.Join(args, "")
			return untilSignal(func(ctx context.Context) error {
				if f.static != "" {
					return a.writeUI(ctx, prefix, &f)
				}
				return a.serveUI(ctx, prefix, &f)
			})
		},
	}
	flags := cmd.Flags()
	flags.Uint16Var(&f.port, "port", 0, "listen on this `PORT` of 127.0.0.1; 0: any that is free")
	flags.StringVar(&f.TemporalUI, "temporal-ui", "", "the `URL` of Temporal's own page, to link to workflows")
	flags.StringVar(&f.static, "static", "", "write the pages to a new directory `DIR` and end")
	flags.IntVar(&f.maxPages, "max-pages", 10_000, "with --static, write `N` pages at most")
	return cmd
}

// check refuses flags and arguments that exclude each other.
func (f *uiFlags) check(args []string) error {
	if f.static != "" && len(args) == 0 {
		return badFlag("--static", "needs a PREFIX-URL: mounts are not written to files")
	}
	if u, err := url.Parse(f.TemporalUI); f.TemporalUI != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return badFlag("--temporal-ui", "is to be an address such as http://localhost:8233")
	}
	return nil
}

// serveUI serves the pages until ctx ends.
func (a *app) serveUI(ctx context.Context, prefix string, f *uiFlags) error {
	if _, err := store.ParsePrefix(prefix); prefix != "" && err != nil {
		return err
	}
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", f.port))
	if err != nil {
		return fmt.Errorf("%w; name another one with --port", err)
	}
	handler, err := ui.NewHandler(prefix, listener.Addr().String(), &f.Options)
	if err != nil {
		_ = listener.Close()
		return err
	}
	defer handler.Close()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := a.printUI(handler.URL()); err != nil {
		_ = server.Close()
		return err
	}
	select {
	case err = <-served:
	case <-ctx.Done():
		err = context.Cause(ctx)
		_ = server.Close()
		<-served //nolint:errcheck // the error only says that the server was closed
	}
	var by *interruption
	if errors.As(err, &by) {
		return nil // the regular end
	}
	return err
}

// printUI prints the address.
func (a *app) printUI(address string) error {
	if a.json {
		return printJSON(a.stdout, map[string]string{"url": address})
	}
	_, err := fmt.Fprintln(a.stdout, address)
	return err
}

// writeUI writes the pages as files.
func (a *app) writeUI(ctx context.Context, prefix string, f *uiFlags) error {
	return ui.WriteStatic(ctx, prefix, f.static, &ui.StaticOptions{Options: f.Options, MaxPages: f.maxPages})
}
