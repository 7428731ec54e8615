// Library uses a workspace from a Go program that knows nothing of Temporal: each run
// adds a line to a file of the workspace.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"os"

	"github.com/workdir/workdir/mount"
)

func main() {
	mount.Init() // first line: the server of the mounts is this program, run again
	store := flag.String("store", "file:///tmp/workdir-examples", "`URL` under which workspaces are kept")
	flag.Parse()
	if err := note(context.Background(), *store+"/library-1"); err != nil {
		log.Fatal(err)
	}
}

// note adds a line to a file of a workspace, and prints the whole file.
func note(ctx context.Context, url string) (err error) {
	ws, err := mount.Open(ctx, url, nil)
	if err != nil {
		return err
	}
	defer func() {
		_, closeErr := ws.Close(ctx) // unmounts, and stores what changed if the mount is marked
		err = errors.Join(err, closeErr)
	}()
	cmd := mount.Command(ctx, ws, "sh", "-c", "echo noted >>notes.txt && cat notes.txt") // any tool, in the mount
	cmd.Stdout = os.Stdout
	if err := cmd.Run(); err != nil {
		return err
	}
	return ws.Commit() // marks
}
