package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// loggedCommit is a commit in the output of log and verify --json.
type loggedCommit struct {
	ID            archive.CommitID        `json:"commitId"`
	Parent        archive.CommitID        `json:"parentId,omitempty"`
	Time          time.Time               `json:"time"`
	Tool          string                  `json:"tool,omitempty"`
	Host          string                  `json:"host,omitempty"`
	Changes       fs.Changes              `json:"changes"`
	Origin        archive.Origin          `json:"origin,omitzero"`
	Message       string                  `json:"message,omitempty"`
	Command       string                  `json:"command,omitempty"`
	Restored      string                  `json:"restoredId,omitempty"`  // the commit whose state a rollback has restored
	RewoundTo     archive.CommitID        `json:"rewoundToId,omitempty"` // the commit that the work began with, because its workflow was reset; zeros: no archive
	Differences   *[]workspace.Difference `json:"differences,omitempty"` // of log with a way to show them: from the parent to this commit
	Version       *keptVersion            `json:"version,omitempty"`     // of log: the archive is kept
	ResultBytes   *int                    `json:"resultBytes,omitempty"` // of the kept result
	ResultDropped bool                    `json:"resultDropped,omitempty"`
}

// commitsOf returns the commits of a log, newest first, at most n unless n is 0.
func commitsOf(log *archive.Log, n uint) iter.Seq[*loggedCommit] {
	return func(yield func(*loggedCommit) bool) {
		left := n
		for r := range log.All() {
			left--
			if !yield(newLoggedCommit(r)) || left == 0 {
				return
			}
		}
	}
}

func newLoggedCommit(r *archive.Record) *loggedCommit {
	c := &loggedCommit{
		ID: r.ID, Parent: r.Parent, Time: r.Time.UTC(), Tool: r.Tool, Host: r.Host, Changes: r.Changed,
		Origin: r.Origin, ResultDropped: r.Dropped, Message: r.Message, Command: r.Command, Restored: r.Restored, RewoundTo: r.RewoundTo(),
	}
	if r.Result != nil {
		size := len(r.Result)
		c.ResultBytes = &size
	}
	return c
}

// keptVersion is the archive of a commit in the output of log --json, if it is kept as a
// version.
type keptVersion struct {
	Size    int64     `json:"size"`
	ModTime time.Time `json:"modTime"`
}

// line is a commit as one line, column by column.
type line [9]string

// columns are the columns of a commit's line; "" if empty.
func (c *loggedCommit) columns() line {
	o := &c.Origin
	var attempt, step string
	if o.Attempt > 0 {
		attempt = fmt.Sprintf("attempt %d", o.Attempt)
	}
	if o.Step != "" {
		step = "step " + o.Step
	}
	changes := fmt.Sprintf("%d created, %d modified, %d removed", c.Changes.Created, c.Changes.Modified, c.Changes.Removed)
	kept := ""
	if c.Version != nil {
		kept = "kept, " + printable.Bytes(c.Version.Size)
	}
	return line{
		c.Time.Local().Format(time.DateTime), c.ID.Short(),
		attempt, shortened(c.work()), shortened(step), shortened(c.where()), changes,
		kept, shortened(c.said()),
	}
}

// work names the origin of a commit: the types of workflow and activity, else the execution,
// else the program.
func (c *loggedCommit) work() string {
	o := &c.Origin
	switch {
	case o.WorkflowType != "" && o.ActivityType != "":
		return o.WorkflowType + "/" + o.ActivityType
	case o.WorkflowType != "" || o.ActivityType != "":
		return o.WorkflowType + o.ActivityType
	}
	return cmp.Or(o.Execution, c.Tool)
}

// said is the description of the commit itself.
func (c *loggedCommit) said() string {
	switch {
	case c.Message != "":
		return c.Message
	case c.Restored != "":
		return "rollback to " + archive.CommitID(c.Restored).Short()
	case c.RewoundTo == archive.NoArchive:
		return "rewound from " + c.Parent.Short() + " to before the first commit"
	case c.RewoundTo != "":
		return "rewound from " + c.Parent.Short() + " to " + c.RewoundTo.Short()
	}
	return c.Command
}

// where names host and worker. A worker's identity usually contains the host.
func (c *loggedCommit) where() string {
	switch w := c.Origin.Worker; {
	case w == "":
		return c.Host
	case strings.Contains(w, c.Host):
		return w
	default:
		return c.Host + "/" + w
	}
}

// shownText is the maximum number of characters of a name in a line.
const shownText = 48

// shortened makes a name fit for a line.
func shortened(s string) string {
	n := 0
	for i := range s {
		if n++; n > shownText+1 { // the rest is not shown, and can be long
			s = s[:i]
			break
		}
	}
	s = workspace.Printable(s)
	if utf8.RuneCountInString(s) <= shownText {
		return s
	}
	return string([]rune(s)[:shownText-3]) + "..."
}

// String returns the line without empty columns.
func (c *loggedCommit) String() string {
	columns := c.columns()
	return strings.Join(slices.DeleteFunc(columns[:], func(s string) bool { return s == "" }), "  ")
}

// printCommits prints a line for each commit, in columns. Columns that are empty in all lines
// are omitted.
func printCommits(out io.Writer, commits iter.Seq[*loggedCommit]) error {
	var lines []line
	var used [len(line{})]bool
	for c := range commits {
		line := c.columns()
		for k, s := range line {
			used[k] = used[k] || s != ""
		}
		lines = append(lines, line)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range lines {
		var shown []string
		for k, s := range line {
			if used[k] {
				shown = append(shown, cmp.Or(s, "-"))
			}
		}
		fmt.Fprintln(w, strings.Join(shown, "\t"))
	}
	return w.Flush()
}

func (a *app) logCommand() *cobra.Command {
	var number count
	var f logFlags
	cmd := &cobra.Command{
		Use:   "log [flags] URL [PATH]",
		Short: "Show the commits of a workspace",
		Long: `log shows the commits that led to a workspace's archive, the last 1,001 of them, newest
first, a line each: when, the beginning of the commit's id, which attempt, of what (workflow
and activity type, the execution, or the program), which step, from where, and how much
changed, whether the archive that the commit made is kept as a version (URL@COMMIT), and what
was said of it. --json tells all that is known, but for the results of steps, of which it tells
the size. An archive that another program wrote has no commits. Of a workspace whose archive
is gone the log of its newest version is shown.

With PATH only the commits are shown that changed what is at or beneath it, and with -p, --stat
and --name-only what each commit changed. Both read the archives before and after a commit, so
that they can tell where both are kept. blame tells of the last change without them.`,
		Example: `  workdir-mount log s3://bucket/jobs/job-1
  workdir-mount log -n 1 --json s3://bucket/jobs/job-1`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			f.number, f.path = uint(number), strings.Trim(pathIn(args), "/")
			if err := f.check(); err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error { return a.showLog(ctx, args[0], &f) })
		},
	}
	f.register(cmd.Flags())
	cmd.Flags().BoolVarP(&f.patch, "patch", "p", false, "show the lines of text files that each commit changed")
	cmd.Flags().VarP(&number, "number", "n", "show the newest `N` commits only (default: all)")
	return cmd
}

// workspaceLog is the output of log --json before the commits.
type workspaceLog struct {
	URL      string          `json:"url"`
	Revision store.Revision  `json:"revision"`
	Others   []loggedVersion `json:"versions,omitempty"` // of commits that are not in the log

	Checkpoints []loggedCheckpoint `json:"checkpoints,omitempty"`
}

// loggedCheckpoint is a checkpoint of the workspace.
type loggedCheckpoint struct {
	ID archive.CommitID `json:"checkpointId"`
	keptVersion
}

// loggedVersion is a version without a commit.
type loggedVersion struct {
	ID archive.CommitID `json:"commitId"`
	keptVersion
}

// printCommitsJSON prints head, an object, with the commits as its last field. It writes one
// at a time, since together they can be much larger than the log.
func printCommitsJSON(out io.Writer, head workspaceLog, commits iter.Seq[*loggedCommit]) error {
	line, err := jsonLine(head)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, strings.TrimSuffix(line, "}")+`,"commits":[`); err != nil {
		return err
	}
	comma := ""
	for c := range commits {
		if line, err = jsonLine(c); err != nil {
			return err
		}
		if _, err := io.WriteString(out, comma+line); err != nil {
			return err
		}
		comma = ","
	}
	_, err = io.WriteString(out, "]}\n")
	return err
}

// jsonLine returns the output of printJSON, without the line break.
func jsonLine(v any) (string, error) {
	var b strings.Builder
	err := printJSON(&b, v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func (a *app) showLog(ctx context.Context, url string, f *logFlags) error {
	h, err := workspace.History(ctx, url)
	if err != nil {
		return err
	}
	head := workspaceLog{URL: store.Redacted(url), Revision: h.Info.Revision}
	kept := map[archive.CommitID]*keptVersion{}
	for _, v := range h.Versions {
		kept[v.ID] = &keptVersion{v.Size, v.ModTime.UTC()}
		if !h.Log.Has(v.ID) {
			head.Others = append(head.Others, loggedVersion{v.ID, *kept[v.ID]})
		}
	}
	for _, c := range h.Checkpoints {
		head.Checkpoints = append(head.Checkpoints, loggedCheckpoint{c.ID, keptVersion{c.Size, c.ModTime.UTC()}})
	}
	commits := func(yield func(*loggedCommit) bool) {
		for c := range commitsOf(h.Log, 0) {
			if c.Version = kept[c.ID]; !yield(c) {
				return
			}
		}
	}
	u, err := store.ParseURL(url)
	if err != nil {
		return err
	}
	u.Commit = ""
	p := newPastChanges(ctx, a, u.String(), &h, f)
	shown := iter.Seq[*loggedCommit](commits)
	if f.changes() {
		shown = p.of(shown)
	}
	shown = firstOf(shown, f.number)
	if a.json {
		return a.toStdout(ctx, func(w io.Writer) error { return cmp.Or(printCommitsJSON(w, head, shown), p.err) })
	}
	if h.Gone {
		a.note("the workspace has no archive; this is the log of the newest version of it")
	}
	if h.Log == nil {
		a.note("there is no commit log: another program wrote this archive")
	}
	for _, v := range head.Others {
		a.note("an archive of %s that is no commit of the log is kept as version %s, %s", v.ModTime.Local().Format(time.DateTime), v.ID, printable.Bytes(v.Size))
	}
	for _, c := range head.Checkpoints {
		a.note("there is a checkpoint of %s: %s, %s", c.ModTime.Local().Format(time.DateTime), c.ID, printable.Bytes(c.Size))
	}
	return a.toStdout(ctx, func(w io.Writer) error {
		if f.changes() {
			return p.print(w, shown)
		}
		return printCommits(w, shown)
	})
}
