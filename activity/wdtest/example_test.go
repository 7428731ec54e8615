package wdtest_test

import (
	"context"
	"os"
	"strings"
	"testing"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/wdtest"
)

// Upper writes a file of its workspace in upper case.
func Upper(ctx context.Context, name string) error {
	b, err := os.ReadFile(wdactivity.Path(ctx, name))
	if err != nil {
		return err
	}
	if err := os.WriteFile(wdactivity.Path(ctx, name), []byte(strings.ToUpper(string(b))), 0o644); err != nil {
		return err
	}
	return wdactivity.Commit(ctx)
}

// A test fills a workspace, runs the activity in it, and looks at what was stored.
func ExampleNewEnv() {
	_ = func(t *testing.T) { // func TestUpper(t *testing.T)
		store := wdtest.NewStore(t)
		wdtest.Put(t, store+"/job", map[string]string{"notes.txt": "hello"})

		env := wdtest.NewEnv(t, &wdactivity.PluginOptions{
			Rules: []wdactivity.Rule{{Activity: Upper, URL: store + "/job"}},
		})
		env.RegisterActivity(Upper)
		if _, err := env.ExecuteActivity(Upper, "notes.txt"); err != nil {
			t.Fatal(err)
		}
		if got := wdtest.Get(t, store+"/job")["notes.txt"]; got != "HELLO" {
			t.Errorf("stored: %q", got)
		}
	}
}
