// Package activity runs Temporal activities in workspaces. It is imported as
// wdactivity, since every user of it imports the SDK's package activity too.
//
// The door is a plugin, in the options of the client or the worker. Its rules give
// ordinary activities their workspaces; an activity may open further ones by [Do].
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
// Each workspace is mounted before the function runs, and unmounted after it in every
// case: return, error, panic, runtime.Goexit, cancellation.
//
// # When a workspace is stored
//
// Only if all of this holds:
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
// If the workspace was to be stored and was not, the activity fails, so that a
// result in the history always has its workspace in the store. The errors, their
// types for Temporal, and which of them are retried are in docs/errors.md.
//
// # URLs
//
// The key of a URL may have variables: {workflow_id}, {workflow_run_id},
// {workflow_type}, {workflow_namespace}, {namespace}, {activity_id},
// {activity_run_id}, {activity_type}, {attempt} and {task_queue}, and those of
// Options.Vars. A variable that an activity does not have is empty: activities that no
// workflow started have no workflow_id, others no activity_run_id. A value is one segment
// of the key, or a piece of one; that of {name...} may be several. "{{" and "}}" are
// braces. No value leads out of the place that the template names. An unknown variable is
// an error of NewPlugin, or when the activity runs if there are Vars.
//
// # Once
//
// A visit of a workspace that may write is a step of its activity. The commit of a
// step is recorded in the archive with the function's result. An attempt that finds the
// record of its step, when it opens the workspace or after a conflict, returns that
// result; it does not run the function, or discards what it did. So an activity whose
// worker dies after the commit and before the report takes effect once, and so do two
// attempts that overlap.
//
// A step is identified by the execution of the activity (namespace, workflow id, run id,
// activity id and the time at which it was scheduled, since an activity id may be used
// again; or for one without a workflow its own id and run id), the workspace, and its
// ordinal among the activity's steps on that workspace. A visit that ends with an error
// of this package gives its number back, one whose function failed does not. Activities
// whose steps come in another order in another attempt, or at the same time, name them by
// Options.Step; a step without a name that begins while another is under way, and is
// not inside it, is ErrStep. A workflow that is reset is another execution, and runs
// again. An activity that changed nothing has no record, and runs again as well.
//
// Results are encoded by the data converter of the client, if it has the plugin, or
// PluginOptions.DataConverter, and may have 2 MiB. The archive keeps 4 MiB of them, and
// the last 1,000 commits; a step whose result is no longer kept fails for good
// (workdir.AlreadyCommitted), and is not done again. What the function does outside of
// the workspace is not covered.
//
// # The life of an attempt
//
// With a heartbeat timeout, heartbeats are sent from before the first byte is
// fetched until after the last is stored, at a third of the timeout, as long as
// the activity's context and the server process of the mount live. Each carries the last
// details that the activity sent, or the attempt before it, since one without details
// would erase them. A DataConverter that does not know converter.RawValue, which those of
// the SDK do, keeps the details of the attempt before from being sent on.
//
// Without a heartbeat timeout an attempt that was cancelled or replaced finds out
// no sooner than it commits. Give every activity that works in a workspace one; it
// must only exceed what the Temporal server may take to answer, since heartbeats go
// on during long transfers.
//
// At the end of the attempt (cancelled, paused, reset, timed out, replaced, the
// worker stops) its context ends, its mounts turn read-only at once, and nothing is
// stored. A context that the caller made for one Do ends that Do alone. When a worker
// stops, the SDK waits WorkerStopTimeout for its activities, and ends their contexts then;
// by default it does not wait. A WorkerStopTimeout that exceeds the activities' work and
// commits lets them finish; the log says so where a commit was cut off.
//
// # Fence
//
// Before a commit is sent to the store, and again right before the request that
// makes it visible, Temporal is asked by a heartbeat with the task token whether
// this attempt is the current one. Every answer but yes ends the commit. Where the
// server is away it is asked again as long as the attempt has time. A local
// activity is known to its own worker alone, and its context is asked instead.
//
// An activity that was cancelled by request ends as cancelled. Where the fence is the
// first to hear of it, the activity's end waits until the SDK has heard of it too, which
// takes up to 80 % of the heartbeat timeout.
//
// A reset begins again at attempt 1, and can leave two attempts that Temporal considers
// current, or make an older one current again. There the log alone keeps them to
// one effect and one result.
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
