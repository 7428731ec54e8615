package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/mount"
)

// printJSON writes v as one line, without escaping the "&" of URLs.
func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// printJSONArray writes values as they come, as one line with an array.
func printJSONArray[T any](out *bufio.Writer, values iter.Seq2[T, error]) error {
	between := "["
	for v, err := range values {
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		var line bytes.Buffer
		if err := printJSON(&line, v); err != nil {
			return err
		}
		line.Truncate(line.Len() - 1) // the line break
		if _, err := fmt.Fprint(out, between, line.String()); err != nil {
			return err
		}
		between = ","
	}
	_, _ = fmt.Fprintln(out, strings.TrimSuffix(between, ",")+"]") // Flush returns its error
	return out.Flush()
}

// printText writes text for people, without untrusted escape sequences for the terminal. All
// output except results for programs goes through it.
func printText(w io.Writer, text string) error {
	_, err := io.WriteString(w, printable.Text(text)) // one write, so that lines are not split
	return err
}

// toStdout calls write with a writer to standard output. If the reader is gone that is an
// error and does not kill us, so that nothing is left behind; the exit code is then that of
// SIGPIPE, without a message. A reader that does not read blocks us only until ctx ends.
func (a *app) toStdout(ctx context.Context, write func(io.Writer) error) error {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, unix.SIGPIPE)
	defer signal.Stop(broken)
	r, w := io.Pipe()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(a.stdout, r)
		_ = r.CloseWithError(err) // never fails
		copied <- err
	}()
	stop := context.AfterFunc(ctx, func() { _ = r.CloseWithError(context.Cause(ctx)) })
	defer stop()
	err := write(w)
	_ = w.Close() // never fails
	select {
	case copyErr := <-copied:
		err = cmp.Or(err, copyErr)
	case <-ctx.Done():
		err = cmp.Or(err, context.Cause(ctx))
	}
	if errors.Is(err, unix.EPIPE) {
		return &statusError{code: exitSignal + int(unix.SIGPIPE)}
	}
	return err
}

// closedMount is the output of --json for a mount that has ended.
type closedMount struct {
	URL      string `json:"url"`
	Path     string `json:"path"`
	RawPath  []byte `json:"rawPath,omitempty"`  // Path if it is not UTF-8
	ExitCode *int   `json:"exitCode,omitempty"` // of the command that exec ran
	Replayed bool   `json:"replayed,omitempty"` // revision and commitId are of another attempt, see stepFlags
	mount.Result
}

func newClosedMount(url, path string, r mount.Result) closedMount {
	return closedMount{URL: url, Path: path, RawPath: mount.RawPath(path), Result: r}
}

// outcome describes the outcome for the changes.
func outcome(r mount.Result) string {
	changed := r.Changes.Total()
	switch {
	case r.Stored:
		return fmt.Sprintf("stored %s, %s archive, revision %s", changedFiles(r.Changes), printable.Bytes(r.Size), r.Revision)
	case r.Saved != "":
		return fmt.Sprintf("saved %s as %s", changedFiles(r.Changes), r.Saved)
	case r.Deleted:
		return "the workspace is empty: its archive is deleted"
	case changed == 0:
		return "nothing changed"
	case r.Marked:
		return "the workspace is empty: there is nothing to store"
	case changed == 1:
		return "1 file changed, not committed: discarded"
	}
	return fmt.Sprintf("%d files changed, not committed: discarded", changed)
}

func changedFiles(c fs.Changes) string {
	if c.Total() == 1 {
		return "1 changed file"
	}
	return fmt.Sprintf("%d changed files", c.Total())
}
