package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount"
)

// printJSON writes v as one line, with the "&" of URLs as it is.
func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// closedMount is what --json tells of a mount that has ended.
type closedMount struct {
	URL      string `json:"url"`
	Path     string `json:"path"`
	ExitCode *int   `json:"exitCode,omitempty"` // of the command that exec ran
	mount.Result
}

func newClosedMount(url, path string, r mount.Result) closedMount {
	return closedMount{URL: url, Path: path, Result: r}
}

// outcome says in words what became of the changes. marked: they were to be
// stored.
func outcome(r mount.Result, marked bool) string {
	changed := r.Changes.Total()
	switch {
	case r.Stored:
		return fmt.Sprintf("stored %s, %s archive, revision %s", changedFiles(r.Changes), humanBytes(r.Size), r.Revision)
	case r.Deleted:
		return "the workspace is empty: its archive is deleted"
	case changed == 0:
		return "nothing changed"
	case marked:
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

// humanBytes writes a number of bytes in binary units with one decimal.
func humanBytes(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/(1<<10), 0
	const units = "KMGTPE"
	for value >= 1<<10 && unit < len(units)-1 {
		value /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, units[unit])
}
