// Package play is what the Go examples share: the flags, the connection, and a
// worker that runs for as long as one workflow does.
package play

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/workdir/workdir/mount"
)

// Stage is where an example is played: a Temporal server, and a store.
type Stage struct {
	Client client.Client
	Store  string // the URL under which the workspaces are kept
	Name   string // of the example; also its task queue and its workflow's id
}

// Main plays an example, and ends the process. The server is the one of the
// environment variable TEMPORAL_ADDRESS, or the one at localhost:7233.
func Main(name string, example func(*Stage) error) {
	mount.Init()
	s := &Stage{Name: name}
	flag.StringVar(&s.Store, "store", "file:///tmp/workdir-examples", "`URL` under which workspaces are kept")
	flag.Parse()
	if err := s.play(example); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

func (s *Stage) play(example func(*Stage) error) (err error) {
	s.Client, err = client.Dial(client.Options{
		HostPort: os.Getenv("TEMPORAL_ADDRESS"),
		Logger:   log.NewStructuredLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))),
	})
	if err != nil {
		return err
	}
	defer s.Client.Close()
	return example(s)
}

// Run starts the worker, runs the workflow, and stops the worker. The workflow's
// result goes to where result points.
func (s *Stage) Run(w worker.Worker, result, workflow any, args ...any) error {
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	run, err := s.Client.ExecuteWorkflow(context.Background(), client.StartWorkflowOptions{ID: s.Name + "-1", TaskQueue: s.Name}, workflow, args...)
	if err != nil {
		return err
	}
	return run.Get(context.Background(), result)
}

// Tool runs a tool. Its error has what the tool printed to standard error, so that
// it can be read in the workflow's history.
func Tool(cmd *exec.Cmd) (stdout string, err error) {
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, exit.Stderr)
	}
	return string(out), err
}
