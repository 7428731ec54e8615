// Package serve is the server of a client's mounts: it has their trees, answers FUSE, and
// reads from and writes to the stores. It decides nothing: whether a mount is stored it
// asks the client, once nobody uses the mount any more, and again right before the request
// that makes a commit visible.
//
// A mount is a [hosted]. What it shows is a loaded archive, or one that it shares with
// others ([sharing]); how it is shown is its [view]; what it may take is of the server's
// [budget].
package serve
