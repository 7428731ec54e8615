// Package serve is the server of a client's mounts: it holds their trees, answers FUSE, and
// reads from and writes to the stores. It decides nothing: it asks the client whether a
// mount is to be stored, once nobody uses the mount any more, and again right before the
// request that makes a commit visible.
//
// A mount is a [hosted]. It shows a loaded archive, its own or one that it shares with
// others ([sharing]). Its [view] is how tools see it, and the server's [budget] limits what
// it may take.
package serve
