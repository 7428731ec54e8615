// Package activity runs Temporal activities in workspaces. It is imported as
// wdactivity, since every user of it imports the SDK's package activity too.
//
// [Do] and [Wrap] mount a workspace at a mountpoint of its own, run a function,
// and unmount in every case: return, error, panic, runtime.Goexit, cancellation.
// The workspace is stored only if all of this holds:
//
//   - The function returned nil. An error, activity.ErrResultPending included, is
//     given back as it is, and nothing is stored.
//   - It marked the mount by Commit, or Options.AutoCommit is set.
//   - The activity's context is alive when the mount is unmounted, and still when
//     the last request to the store is about to be sent. Cancellation, a timeout,
//     a pause, a reset and the end of the worker all end that context.
//
// If the workspace was to be stored and was not, the activity fails, so that
// Temporal tries it again: a result in the history always has its workspace in
// the store.
//
//	func main() {
//		mount.Init()
//		…
//		w.RegisterActivityWithOptions(
//			wdactivity.Wrap("s3://bucket/job-1", build, nil),
//			activity.RegisterOptions{Name: "build"})
//	}
//
//	func build(ctx context.Context, ws *mount.Mount, target string) (string, error) {
//		if err := mount.Command(ctx, ws, "make", target).Run(); err != nil {
//			return "", err
//		}
//		return "built", ws.Commit()
//	}
//
// # What is not there
//
// The URL is taken as it is: variables such as the workflow's id are not
// expanded. Nothing sends heartbeats, so an activity learns of its cancellation
// only if it heartbeats itself, and an attempt that was replaced unknown to its
// worker is stopped by the condition of the store alone: it conflicts with its
// successor's commit, or that one with its. A commit is not tied to the attempt
// that made it, so if the worker dies between commit and result, the next attempt
// starts from what was committed. Errors are ordinary ones, which Temporal
// retries by the activity's policy.
package activity
