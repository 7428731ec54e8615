// Buildfarm builds the commands of a git repository, each in a workspace of its
// own and all at the same time. How to build stands in a workspace that they share
// read-only: it is fetched once, however many of them run.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/examples/internal/play"
	"github.com/workdir/workdir/mount"
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
	farm := &Farm{config: s.Store + "/buildfarm/config"}
	w := worker.New(s.Client, s.Name, worker.Options{})
	w.RegisterWorkflow(Workflow)
	w.RegisterActivity(farm.Configure)
	wdactivity.Register(w, "Build", s.Store+"/{workflow_id}/{command}", farm.Build, &wdactivity.Options{
		AutoCommit: true,
		Vars:       wdactivity.Vars(func(job Job) map[string]string { return map[string]string{"command": job.Command} }),
	})
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
	if err := workflow.ExecuteActivity(ctx, "Configure").Get(ctx, nil); err != nil {
		return nil, err
	}
	var builds []workflow.Future
	for _, command := range []string{"s2/cmd/s2c", "s2/cmd/s2d"} {
		builds = append(builds, workflow.ExecuteActivity(ctx, "Build", Job{Repository: repository, Command: command}))
	}
	all := make([]Built, len(builds))
	for i, b := range builds {
		if err := b.Get(ctx, &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Farm has the activities.
type Farm struct {
	config string // URL of the shared workspace
}

// Configure stores how to build.
func (f *Farm) Configure(ctx context.Context) error {
	_, err := wdactivity.Do(ctx, f.config, nil, func(_ context.Context, ws *mount.Mount) (struct{}, error) {
		b, err := json.Marshal(config{Flags: []string{"-trimpath", "-ldflags=-s -w -X main.version=farm"}, Environment: []string{"CGO_ENABLED=0", "GOFLAGS=-mod=mod"}})
		if err != nil {
			return struct{}{}, err
		}
		if err := os.WriteFile(ws.Path("build.json"), b, 0o644); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, ws.Commit()
	})
	return err
}

// Build clones the repository into the workspace, or brings it up to date if an
// earlier build left it there, and builds one command.
func (f *Farm) Build(ctx context.Context, ws *mount.Mount, job Job) (Built, error) {
	return wdactivity.Do(ctx, f.config, &wdactivity.Options{ReadOnly: true}, func(ctx context.Context, shared *mount.Mount) (Built, error) {
		var c config
		b, err := os.ReadFile(shared.Path("build.json"))
		if err != nil {
			return Built{}, err
		}
		if err := json.Unmarshal(b, &c); err != nil {
			return Built{}, err
		}
		return build(ctx, ws, job, c)
	})
}

func build(ctx context.Context, ws *mount.Mount, job Job, c config) (Built, error) {
	sh := func(script string, args ...string) (string, error) {
		cmd := mount.Command(ctx, ws, "sh", append([]string{"-euc", script, "sh"}, args...)...)
		cmd.Env = append(os.Environ(), c.Environment...)
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
	info, err := os.Stat(ws.Path("bin", name))
	if err != nil {
		return Built{}, err
	}
	return Built{Command: job.Command, Commit: commit, Bytes: info.Size(), Version: version}, nil
}
