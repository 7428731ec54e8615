// Migrate has activities of the Python temporal-workdir and the same ones here, on
// workers beside each other and on the same workspaces, as while one replaces the
// other. docs/migrate.md goes through both.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/examples/internal/play"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"

	_ "github.com/workdir/workdir/store/drivers/s3"
)

func main() { play.Main("migrate", run) }

func run(s *play.Stage) error {
	a := &Activities{store: s.Store}
	plugin, err := plugin(a)
	if err != nil {
		return err
	}
	w := worker.New(s.Client, s.Name, worker.Options{Plugins: []worker.Plugin{plugin}})
	w.RegisterWorkflow(Workflow)
	w.RegisterActivity(a)
	var told []string
	if err := s.Run(w, &told, Workflow); err != nil {
		return err
	}
	fmt.Println(strings.Join(told, "\n"))
	return nil
}

// Activities are what the Python activities are.
type Activities struct {
	store string // URL
}

func plugin(a *Activities) (*temporal.SimplePlugin, error) {
	return wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{
		{Activity: a.Note, URL: a.store + "/{workflow_id}", Options: wdactivity.Options{AutoCommit: true}},

		{Activity: a.Greet, URL: a.store + "/{workflow_id}/users/{user}", Options: wdactivity.Options{
			AutoCommit: true,
			Vars:       wdactivity.Vars(func(user string) map[string]string { return map[string]string{"user": user} }),
		}},
	}})
}

// Note adds a line.
func (a *Activities) Note(ctx context.Context, line string) (int, error) {
	f, err := os.OpenFile(wdactivity.Path(ctx, "notes.txt"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(f, "go: %s\n", line)
	if err := f.Close(); err != nil {
		return 0, err
	}
	all, err := os.ReadFile(wdactivity.Path(ctx, "notes.txt"))
	return strings.Count(string(all), "\n"), err
}

// Greet leaves a greeting in the user's own workspace.
func (a *Activities) Greet(ctx context.Context, user string) error {
	return os.WriteFile(wdactivity.Path(ctx, "greeting.txt"), []byte("hello, "+user+"\n"), 0o644)
}

// Read returns the notes of a workflow.
func (a *Activities) Read(ctx context.Context, workflowID string) (string, error) {
	opts := &wdactivity.Options{ReadOnly: true}
	return wdactivity.Do(ctx, a.store+"/"+workflowID, opts, func(_ context.Context, ws *mount.Mount) (string, error) {
		all, err := os.ReadFile(ws.Path("notes.txt"))
		return string(all), err
	})
}

// Users deletes the workspaces of a workflow's users, and returns their names.
func (a *Activities) Users(ctx context.Context, workflowID string) (names []string, err error) {
	users, err := store.List(ctx, a.store+"/"+workflowID+"/users")
	for _, u := range users {
		names = append(names, u.Name)
		if _, err := store.Delete(ctx, a.store+"/"+workflowID+"/users/"+u.Name); err != nil {
			return names, err
		}
	}
	return names, err
}

// Workflow has them work in turns, and reports what each found.
func Workflow(ctx workflow.Context) (told []string, err error) {
	here := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, HeartbeatTimeout: 10 * time.Second})
	python := workflow.WithHeartbeatTimeout(workflow.WithTaskQueue(here, "migrate-python"), 0) // it sends none
	id := workflow.GetInfo(ctx).WorkflowExecution.ID

	call := func(on workflow.Context, activity, arg string) {
		var result any
		if err == nil {
			err = workflow.ExecuteActivity(on, activity, arg).Get(on, &result)
		}
		told = append(told, fmt.Sprintf("%s(%s): %v", activity, arg, result))
	}
	for _, turn := range []string{"first", "second", "third"} {
		call(here, "Note", turn)
		call(python, "note_python", turn)
	}
	call(here, "Greet", "ann")
	call(python, "greet_python", "bob")
	call(python, "read_python", id)
	call(here, "Read", id)
	call(here, "Users", id)
	call(python, "users_python", id)
	return told, err
}
