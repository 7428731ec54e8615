// Package mount is the life of one mount: a workspace is opened, worked in,
// marked or not, and closed.
//
// A program that uses workspaces never serves them itself: a Go process that
// runs a tool in its own FUSE mount can deadlock with it, for ever and beyond
// SIGKILL. So the first [Open] (or [Start]) starts a second process, the server,
// which has the trees in memory, answers FUSE and talks to the stores; it hosts
// all mounts of its client. The client, which is the program, keeps the decision
// whether a mount is stored. They speak over a socketpair, and the end of that
// socket is how each learns of the other's death:
//
//   - The client dies: the server detaches every mount, stores nothing, exits.
//   - The server dies: tools see ENOTCONN until [Mount.Close], which gives
//     [ErrServerLost] and clears the mount away; the next Open starts a new server.
//   - Both die: the next Open, or command, with the same run directory cleans up.
//
// The server is the program itself, run again. That needs [Init] as the first
// line of main; a program without it needs the workdir-mount command in PATH.
//
// # The barrier
//
// A mount is stored only after our own umount(2) of it has succeeded and the
// FUSE connection has ended by that. Then no page is dirty, no descriptor is
// open, no copy of the mount lives in another namespace, and what the tree holds
// is what the tools have written. A mount that ended in any other way, or that
// is still in use after [Options.Grace], is not stored.
//
// # Once
//
// Work that is tried again after a crash can have an identity, [Options.Origin],
// and is then a step: the log in the archive knows that it was committed, by which
// attempt, and what it gave ([Mount.SetResult]). The log is read when the workspace
// is opened and after a conflict, so that of several attempts, one after the other
// or at once, one takes effect, and all get its result in a [*CommittedError]. Who
// learns that an attempt of his is not the current one any more says so by
// [Mount.Revoke], or by [Options.BeforeStore], which is asked at the last moment.
// A process that is stopped between that question and the request can still commit;
// its successor then gets its result.
//
// # Without FUSE
//
// With [Options.Plain] the tree is shown in a plain directory, see docs/plain.md. Its
// server runs in the client's process, and needs neither Init nor a kernel with FUSE.
package mount
