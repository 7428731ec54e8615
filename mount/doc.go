// Package mount is the life of one mount: a workspace is opened, worked in, marked or not,
// and closed.
//
// A program that uses workspaces never serves them itself: a Go process that runs a tool in
// its own FUSE mount can deadlock with it, forever and beyond SIGKILL. So the first [Open]
// (or [Start]) starts a second process, the server. The server holds the trees in memory,
// answers FUSE and talks to the stores; it hosts all mounts of its client. The client,
// which is the program, decides whether a mount is stored. They talk over a socketpair, and
// the end of that socket tells each that the other has died:
//
//   - The client dies: the server detaches every mount, stores nothing, exits.
//   - The server dies: tools get ENOTCONN until [Mount.Close], which returns
//     [ErrServerLost] and clears the mount away; the next Open starts a new server.
//   - Both die: the next Open or command with the same run directory cleans up.
//
// The server is the program itself, run again. That needs [Init] as the first line of main;
// a program without it needs the workdir-mount command in PATH.
//
// # The barrier
//
// A mount is stored only after our own umount(2) of it has succeeded and has ended the FUSE
// connection. Then no page is dirty, no descriptor is open, no copy of the mount exists in
// another namespace, and the tree holds exactly what the tools have written. A mount that
// ended in any other way, or that is still in use after [Options.Grace], is not stored.
//
// # Once
//
// Work that is retried after a crash can have an identity, [Options.Origin], and is then a
// step. The log in the archive records that a step was committed, by which attempt, and
// with which result ([Mount.SetResult]). The log is read when the workspace is opened and
// after a conflict. So if several attempts run, one after the other or at once, exactly one
// takes effect, and all others get its result in a [*CommittedError]. A caller that learns
// that its attempt is no longer the current one calls [Mount.Revoke], or returns an error
// from [Options.BeforeStore], which is called at the last moment. A process that is stopped
// between that call and the request can still commit; its successor then gets its result.
//
// # Without FUSE
//
// With [Options.Plain] the tree is shown in a plain directory, see docs/plain.md. Its
// server runs in the client's process, and needs neither Init nor a kernel with FUSE.
package mount
