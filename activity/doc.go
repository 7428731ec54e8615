// Package activity runs Temporal activities in workspaces. It is imported as
// wdactivity, since every user of it imports the SDK's package activity too.
//
// The entry point is a plugin, in the options of the client or the worker. Its rules assign
// workspaces to ordinary activities; an activity may open more by [Do].
//
//	func main() {
//		mount.Init() // first line of main
//		plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{
//			{Activity: (*Activities).Build, URL: "file:///srv/jobs/{workflow_id}"},
//		}})
//		…
//		c, err := client.Dial(client.Options{Plugins: []client.Plugin{plugin}})
//		…
//	}
//
//	func (a *Activities) Build(ctx context.Context, target string) (string, error) {
//		if err := wdactivity.Command(ctx, "make", target).Run(); err != nil {
//			return "", err
//		}
//		return "built", wdactivity.Commit(ctx)
//	}
//
// Each workspace is mounted before the function runs, and always unmounted after it: on
// return, error, panic, runtime.Goexit, cancellation.
//
// # When a workspace is stored
//
// A workspace is stored only if all of the following hold:
//
//   - The function returned nil. An error, activity.ErrResultPending included, is
//     returned as it is, and nothing is stored.
//   - It marked the mount by Commit, or Options.AutoCommit is set.
//   - Nothing uses the mount any more. A process that the function left behind is
//     named in the error.
//   - The attempt is current, see Fence.
//   - The stored archive is the one that was opened. Otherwise the error is a
//     conflict, with which Temporal tries again on fresh state.
//
// The activity fails if a marked workspace could not be stored: for every result in the
// history the workspace is in the store. The errors, their types for Temporal, and which of
// them are retried are in docs/errors.md.
//
// # URLs
//
// The key of a URL may have variables: {workflow_id}, {workflow_run_id},
// {workflow_type}, {workflow_namespace}, {namespace}, {activity_id},
// {activity_run_id}, {activity_type}, {attempt} and {task_queue}, and those of
// Options.Vars. Variables that do not apply are empty: workflow_id in an activity started
// without a workflow, activity_run_id in any other. A value is one segment of the key or part
// of one; that of {name...} may be several. "{{" and "}}" are literal braces. No value can
// lead out of the place named by the template. An unknown variable is an error of NewPlugin,
// or when the activity runs if there are Vars.
//
// # Once
//
// Each opening of a workspace for writing, a visit, is a step of its activity. The commit of a
// step is recorded in the archive with the function's result. An attempt that finds the record
// of its step, when it opens the workspace or after a conflict, returns that result; it does
// not run the function, or discards its work. So an activity takes effect once even if its
// worker dies between commit and report, or two attempts overlap.
//
// A step is identified by the execution of the activity (namespace, workflow id, run id,
// activity id and the time at which it was scheduled, since an activity id may be reused; or
// for one without a workflow its own id and run id), the workspace, and its ordinal among the
// activity's steps on that workspace. A visit that ends with an error of this package releases
// its number, one whose function failed does not. Activities whose steps are concurrent, or
// may come in a different order in another attempt, name them by Options.Step; an unnamed step
// that begins while another is running, and is not nested in it, is ErrStep. A workflow that
// is reset is a new execution, and runs anew; with Options.Rewind, on the files as they were at
// the point of the reset. An activity that changed nothing leaves no
// record, and a retry runs it anew.
//
// Results are encoded by the data converter of the client, if it has the plugin, or
// PluginOptions.DataConverter, and may have up to 2 MiB. The archive keeps 4 MiB of them, and
// the last 1,000 commits; a step whose result is no longer kept fails for good
// (workdir.AlreadyCommitted), and is not repeated. Effects outside of the workspace are not
// covered.
//
// # The life of an attempt
//
// With a heartbeat timeout, heartbeats are sent from before the first byte is
// fetched until after the last is stored, at a third of the timeout, as long as
// the activity's context and the server process of the mount live. Each carries the latest
// details of the activity, or of the previous attempt, since one without details would erase
// them. With a DataConverter that does not support converter.RawValue, as those of the SDK do,
// the details of the previous attempt cannot be repeated.
//
// Without a heartbeat timeout an attempt that was cancelled or replaced finds out only when it
// commits. Set one on every activity with a workspace; it only has to exceed the Temporal
// server's response time, since heartbeats continue during long transfers.
//
// At the end of the attempt (cancelled, paused, reset, timed out, replaced, the
// worker stops) its context ends, its mounts turn read-only at once, and nothing is
// stored. A context that the caller made for one Do ends that Do alone. When a worker
// stops, the SDK waits WorkerStopTimeout for its activities, and ends their contexts then;
// by default it does not wait. A WorkerStopTimeout that exceeds the activities' work and
// commits lets them finish; if a commit was cut off the log says so.
//
// # Fence
//
// Before a commit is sent to the store, and once more right before the request that makes it
// visible, Temporal is asked by a heartbeat with the task token whether this attempt is the
// current one. Any answer other than yes ends the commit. If the server is unavailable the
// question is retried as long as the attempt has time. Only its own worker knows of a local
// activity, so its context is checked instead.
//
// An activity that was cancelled by request ends as cancelled. If the fence is the first to
// learn of the request, the activity does not end until the SDK has learnt of it too, which
// takes up to 80 % of the heartbeat timeout.
//
// A reset restarts at attempt 1, and can leave two attempts that Temporal considers current,
// or make an older one current. Then only the log ensures one effect and one result.
//
// # Limits
//
//   - A process that is stopped between the answer and the last request to the
//     store can send that request later. Where its successor has committed it
//     conflicts; where it is first, the successor returns its result. But if
//     Temporal has given the activity up for good, or cancelled it meanwhile, no attempt
//     comes after it, and its effect stands.
//   - An archive that another tool wrote, such as the Python temporal-workdir, has no
//     record of earlier commits. Neither has a workspace that was emptied, whose archive
//     is deleted; KeepEmpty keeps it.
//   - A local activity that is tried again after more than a workflow task's
//     timeout gets another activity id from the SDK, and is another execution.
//   - Each of two workspaces in one activity is stored by itself. If the
//     second commit fails the first stands, and the next attempt finds it done.
//
// # Tests
//
// Everything works in the SDK's TestActivityEnvironment, its WorkflowTestSuite and
// its replayer, which take the plugin in their worker options. There the fence asks
// nobody, and each environment counts as executions of its own, although all use the same
// ids. PluginOptions.Plain does without FUSE.
package activity
