// Scratch is an agent with a directory of its own: a loop of tool calls, each one
// the ready-made activity workdir.Exec on whatever worker. What a tool leaves in
// the directory is there for the next one; a tool that fails leaves it as it was.
package main

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/ready"
	"github.com/workdir/workdir/examples/internal/play"
)

func main() { play.Main("scratch", run) }

func run(s *play.Stage) error {
	plugin, err := wdactivity.NewPlugin(nil)
	if err != nil {
		return err
	}
	w := worker.New(s.Client, s.Name, worker.Options{Plugins: []worker.Plugin{plugin}})
	w.RegisterWorkflow(Agent)
	if err := ready.Register(w, &ready.Options{Allow: []string{s.Store}, Only: []string{ready.Exec}}); err != nil {
		return err
	}
	var told []string
	if err := s.Run(w, &told, Agent, s.Store+"/{workflow_id}"); err != nil {
		return err
	}
	fmt.Println(strings.Join(told, "\n"))
	return nil
}

// Agent calls tools until it has nothing more to do, and reports what it did.
func Agent(ctx workflow.Context, scratch string) (told []string, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, HeartbeatTimeout: 10 * time.Second})
	var last *ready.ExecResult
	for turn := 0; ; turn++ {
		call := think(turn, last)
		if call == nil {
			return told, nil
		}
		call.Workspace = scratch
		last = &ready.ExecResult{}
		if err := workflow.ExecuteActivity(ctx, ready.Exec, call).Get(ctx, last); err != nil {
			return nil, err
		}
		told = append(told, fmt.Sprintf("%-30s exit %d, stored %-5t  %s", strings.Join(call.Argv, " "), last.ExitCode, last.Stored, firstLine(last.Stdout)))
	}
}

// think stands in for the model: it sees what the last tool said, and returns the
// next tool call, or nil when it is done. The task is a script that gives the
// median of some numbers.
func think(turn int, last *ready.ExecResult) *ready.ExecInput {
	const first = `sort -n | awk '{ n[NR] = $1 } END { print n[int((NR + 1) / 2)] }'`
	const better = `sort -n | awk '{ n[NR] = $1 } END { print (n[int((NR + 1) / 2)] + n[int(NR / 2) + 1]) / 2 }'`
	switch {
	case turn == 0:
		return &ready.ExecInput{Argv: []string{"tee", "median.sh"}, Stdin: first + "\n"}
	case turn == 1:
		return &ready.ExecInput{Argv: []string{"tee", "check.sh"}, Stdin: check}
	case last.ExitCode != 0 && strings.Contains(last.Stdout, "want"):
		return &ready.ExecInput{Argv: []string{"tee", "median.sh"}, Stdin: better + "\n"} // it has read what is wrong
	case last.Stdout == "all as it should be\n":
		return nil
	}
	return &ready.ExecInput{Argv: []string{"sh", "check.sh"}}
}

// check is the test that the agent wrote. It leaves a mess when it fails: none of
// it stays.
const check = `expect() {
	got=$(printf '%s\n' $1 | sh median.sh)
	[ "$got" = "$2" ] && return
	echo "median of $1: got $got, want $2"
	rm -f ./*.sh
	exit 1
}
expect "3 1 2" 2
expect "4 1 3 2" 2.5
echo "all as it should be"
`

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}
