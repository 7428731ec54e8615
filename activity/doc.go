// Package activity runs Temporal activities in workspaces. It is imported as
// wdactivity, since every user of it imports the SDK's package activity too.
//
// There are three ways in, and they do the same: [Do] inside of an activity,
// [Wrap] and [Register] around a function that becomes one, and [NewInterceptor]
// for activities that are to stay as they are. Each mounts a workspace at a
// mountpoint of its own, runs a function, and unmounts in every case: return,
// error, panic, runtime.Goexit, cancellation.
//
//	func main() {
//		mount.Init()
//		…
//		wdactivity.Register(w, "build", "s3://bucket/jobs/{workflow_id}", build, nil)
//	}
//
//	func build(ctx context.Context, ws *mount.Mount, target string) (string, error) {
//		if err := mount.Command(ctx, ws, "make", target).Run(); err != nil {
//			return "", err
//		}
//		return "built", ws.Commit()
//	}
//
// # When a workspace is stored
//
// Only if all of this holds:
//
//   - The function returned nil. An error, activity.ErrResultPending included, is
//     given back as it is, and nothing is stored.
//   - It marked the mount by Commit, or Options.AutoCommit is set.
//   - Nothing uses the mount any more. A process that the function left behind is
//     named in the error.
//   - The attempt is the one that Temporal goes by, see Fence.
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
// {activity_run_id}, {activity_type}, {attempt} and {task_queue}, and those that
// Options.Vars makes of the arguments. What an activity does not have is empty: one
// that no workflow started has no workflow_id, one that a workflow started no
// activity_run_id. "{{" and "}}" are braces. Values are put in once, as they are,
// and a slash in one makes a sub-path; but no value leads out of the place that the
// template names, and one that would give an empty segment, "." or ".." is refused.
// An unknown variable is an error when the activity is made, or when it runs if
// there are Vars.
//
// # Once
//
// A visit of a workspace that may write is a step of its activity. The commit of a
// step is recorded in the archive with what the function returned, and an attempt
// that finds its step there, when it opens the workspace or after a conflict, gives
// that result and does not run the function, or throws away what it did. So an
// activity whose worker dies after the commit and before the report takes effect
// once, and so do two attempts that overlap.
//
// A step is known by the execution of the activity (namespace, workflow id, run id,
// activity id and the time at which it was scheduled, since an activity id may be used
// again; or for one without a workflow its own id and run id), the workspace, and its
// ordinal among the activity's steps on that workspace. A visit that ends with an error
// of ours gives its number back, one whose function failed does not. Activities whose
// steps come in another order in another attempt, or at the same time, name them by
// Options.Step; without names a step that begins while another is under way, and is
// not inside it, is ErrStep. A workflow that is reset is another execution, and runs
// again. An activity that changed nothing has no
// record, and runs again as well; it has nothing to do twice.
//
// Results go through the data converter of the worker's client, if the client has the
// plugin, or Options.DataConverter, and may have 2 MiB. The archive keeps
// 4 MiB of them, and the last 1,000 commits; a step whose result is not kept any
// more fails for good (workdir.AlreadyCommitted), and is not done again. What the
// function does outside of the workspace is not covered.
//
// # The life of an attempt
//
// With a heartbeat timeout, heartbeats are sent from before the first byte is
// fetched until after the last is stored, at a third of the timeout, as long as
// the activity's context and the server process of the mount live; the end of a
// context that the caller has made for one Do ends that Do alone. Each carries the last details that the
// activity sent, or the attempt before it, since one without details would erase
// them. For that the activity's own heartbeats are listened to: those that are
// sent with the context that the function got or one derived from it; with the
// interceptor also those before. Those that an activity sends before its first Do
// are not heard without it, and are forgotten with the first heartbeat of ours. A
// DataConverter that does not know converter.RawValue, which those of the SDK do,
// keeps the details of the attempt before from being sent on.
//
// Without a heartbeat timeout an attempt that was cancelled or replaced finds out
// no sooner than it commits. Give every activity that works in a workspace one; it
// must only exceed what the Temporal server may take to answer, since heartbeats go
// on during long transfers.
//
// At the end of the attempt (cancelled, paused, reset, timed out, replaced, the
// worker stops) its mounts turn read-only at once, the function's context ends, and
// nothing is stored. When a worker stops, the SDK waits WorkerStopTimeout for its
// activities, and ends their contexts then; by default it waits not at all. A
// WorkerStopTimeout that exceeds the activities' work and commits lets them end
// well, and a commit that was cut off for want of it is logged.
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
// one that hears of it, the visit returns when the SDK has heard of it too, which
// takes up to 80 % of the heartbeat timeout.
//
// A reset begins again at attempt 1, and can leave two attempts that Temporal takes
// for current, or make an older one current again. There the log alone keeps them to
// one effect and one result.
//
// # What cannot be had
//
//   - A process that is stopped between the answer and the last request to the
//     store can send that request later. Where its successor has committed it
//     conflicts; where it is first, the successor gets its result. But if
//     Temporal has given the activity up for good, or cancelled it meanwhile,
//     nobody comes after it, and its effect stands.
//   - An archive that another tool wrote, the Python temporal-workdir among them,
//     has no record of what was committed before. So has a workspace that was
//     emptied, whose archive is deleted; KeepEmpty keeps it.
//   - A local activity that is tried again after more than a workflow task's
//     timeout gets another activity id from the SDK, and is another execution.
//   - The order of two workspaces in one activity: each is stored by itself. If the
//     second commit fails the first stands, and the next attempt finds it done.
//
// # Tests
//
// Everything works in the SDK's TestActivityEnvironment, its WorkflowTestSuite and
// its replayer. There the fence asks nobody, and each environment counts as
// executions of its own, although all use the same ids. Options.Plain does without
// FUSE.
package activity
