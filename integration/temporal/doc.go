// Package temporal holds package activity against a real Temporal server, with
// workers that are processes of their own and are stopped, killed and restarted.
//
// All tests share one server, cmd/temporal-dev in a process of its own. Each test
// has an [env]: a store, a task queue, and workers. Nothing may be left of it at
// the end: no process, no mount, no session, nothing beside the archives.
//
//	func init() {
//		programs["greet"] = func(w worker.Worker, c *config) {
//			registerIn(w, "greet", c.url("job"), greet, opts)
//		}
//	}
//
//	func TestGreet(t *testing.T) {
//		e := newEnv(t)                                       // newS3Env: on an S3 server
//		w := e.newWorker(workerOptions{Program: "greet"})    // a process of its own
//		r := startWorkflow(e, func(ctx workflow.Context) (string, error) {
//			return execute[string](e.activities(ctx), "greet", "you")
//		})
//		r.awaitAttempt(1)
//		w.Kill(both)                                         // the worker and its mount server
//		noError(t, w.Start())
//		got, err := r.result()
//		…
//		e.file("job", "greeting"); e.log("job"); e.exists("job")
//	}
//
// A worker process is the test binary itself. What it can do is a [program], made
// of nothing but a [config]; config.Args carries what is particular to a test.
// Workflows run in the test's own process, so that killed workers end activities
// only; workerOptions.Workflows and [startNamed] are for those that are to run in a
// worker (local activities). workerOptions.NoFUSE is a worker where FUSE is forbidden.
//
// [workerProcess] has Kill, Stop (SIGSTOP), Cont, Shutdown (SIGTERM), Start and
// MountServer. Each worker reaches the server through a [proxy] of its own, whose
// handler sees each request before and after the server does: there a test
// holds it, refuses it, or kills its sender:
//
//	w.set(func(c *call, forward func() error) error {
//		if c.Method == "RespondActivityTaskCompleted" {
//			w.Kill(both) // after the commit, before Temporal knows of it
//			return errKilled
//		}
//		return forward()
//	})
//
// [run] is a workflow under way: result, history, count (of events), pending,
// awaitPending and awaitAttempt (activities that are under way, with their attempts,
// failures and details), cancel. waitFor waits for any condition, and
// [env.onStored] follows the commits. An activity says
// what it is at by files outside of its workspace, see [config.note] and
// [env.awaitNote].
package temporal
