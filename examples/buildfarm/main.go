// Buildfarm builds the commands of a git repository, each in a workspace of its
// own and all at the same time. How to build stands in a workspace that they share
// read-only: it is fetched once, however many of them run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/examples/internal/play"
)

// Job is one command to build.
type Job struct {
	Repository string // what "git clone" takes
	Command    string // its directory in the repository
}

// Built is what came of it.
type Built struct {
	Command, Commit string
	Bytes           int64
	Version         string // as the program itself tells
}

// config is what the shared workspace holds, in build.json.
type config struct {
	Flags       []string
	Environment []string
}

func main() { play.Main("buildfarm", run) }

func run(s *play.Stage) error {
	if flag.NArg() != 1 {
		return fmt.Errorf("usage: buildfarm [-store URL] REPOSITORY")
	}
	shared := s.Store + "/buildfarm/config"
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{
		{Activity: Configure, URL: shared},
		{
			Activity: Build,
			URL:      s.Store + "/{workflow_id}/{command...}",
			Options:  wdactivity.Options{Vars: wdactivity.Vars(func(job Job) map[string]string { return map[string]string{"command": job.Command} })},
			Workspaces: []wdactivity.RuleWorkspace{
				{URL: shared, Options: wdactivity.Options{Name: "config", ReadOnly: true}},
			},
		},
	}})
	if err != nil {
		return err
	}
	w := worker.New(s.Client, s.Name, worker.Options{Plugins: []worker.Plugin{plugin}})
	w.RegisterWorkflow(Workflow)
	w.RegisterActivity(Configure)
	w.RegisterActivity(Build)
	var all []Built
	if err := s.Run(w, &all, Workflow, flag.Arg(0)); err != nil {
		return err
	}
	for _, b := range all {
		fmt.Printf("%-24s %9d bytes, of commit %s: %s\n", b.Command, b.Bytes, b.Commit[:12], b.Version)
	}
	return nil
}

// Workflow writes the configuration, and builds all commands at the same time.
func Workflow(ctx workflow.Context, repository string) ([]Built, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: 10 * time.Second})
	if err := workflow.ExecuteActivity(ctx, Configure).Get(ctx, nil); err != nil {
		return nil, err
	}
	var builds []workflow.Future
	for _, command := range []string{"s2/cmd/s2c", "s2/cmd/s2d"} {
		builds = append(builds, workflow.ExecuteActivity(ctx, Build, Job{Repository: repository, Command: command}))
	}
	all := make([]Built, len(builds))
	for i, b := range builds {
		if err := b.Get(ctx, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Configure stores how to build.
func Configure(ctx context.Context) error {
	b, err := json.Marshal(config{Flags: []string{"-trimpath", "-ldflags=-s -w -X main.version=farm"}, Environment: []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod"}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(wdactivity.Path(ctx, "build.json"), b, 0o644); err != nil {
		return err
	}
	return wdactivity.Commit(ctx)
}

// Build clones the repository into the workspace, or brings it up to date if an
// earlier build left it there, and builds one command.
func Build(ctx context.Context, job Job) (Built, error) {
	shared, ok := wdactivity.WorkspaceNamed(ctx, "config")
	if !ok {
		return Built{}, errors.New("no shared workspace")
	}
	var c config
	b, err := os.ReadFile(shared.Path("build.json"))
	if err != nil {
		return Built{}, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return Built{}, err
	}
	built, err := build(ctx, job, c)
	if err != nil {
		return Built{}, err
	}
	return built, wdactivity.Commit(ctx)
}

func build(ctx context.Context, job Job, c config) (Built, error) {
	sh := func(script string, args ...string) (string, error) {
		cmd := wdactivity.Command(ctx, "sh", append([]string{"-euc", script, "sh"}, args...)...)
		cmd.Env = append(cmd.Env, c.Environment...)
		out, err := play.Tool(cmd)
		return strings.TrimSpace(out), err
	}
	if _, err := sh(`[ -d src ] || git clone -q "$1" src; git -C src -c gc.autoDetach=false pull -q --ff-only`, job.Repository); err != nil {
		return Built{}, err
	}
	if _, err := sh(`to=$PWD/bin/; p=$1; shift; mkdir -p bin; cd src; go build -o "$to" "$@" "./$p"`, append([]string{job.Command}, c.Flags...)...); err != nil {
		return Built{}, err
	}
	commit, err := sh(`git -C src rev-parse HEAD`)
	if err != nil {
		return Built{}, err
	}
	name := job.Command[strings.LastIndex(job.Command, "/")+1:]
	version, err := sh(`"bin/$1" -help 2>&1 | head -1`, name)
	if err != nil {
		return Built{}, err
	}
	info, err := os.Stat(wdactivity.Path(ctx, "bin", name))
	if err != nil {
		return Built{}, err
	}
	return Built{Command: job.Command, Commit: commit, Bytes: info.Size(), Version: version}, nil
}
