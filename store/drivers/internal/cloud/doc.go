// Package cloud is what the drivers of the clouds have in common: a [store.Store]
// over the few requests that each cloud has, its [Backend].
//
// It knows when bytes are fetched and sent, in how many parts at once, what is
// tried again, when an answer is believed, and what a refusal means to the user. It
// knows no cloud, no credentials and no SDK: those are the drivers'.
//
// # One hard idea
//
// An upload becomes visible by exactly one request: a Put, or the Complete of an
// Upload. Everything before it can be given up without a trace. Once it was sent,
// only a definite answer counts: it is not cancelled but waited for, within a
// bound, and where the connection is lost or the store is out of order the error is
// [store.ErrUnknown], which [store.Commit] resolves.
//
// # Memory
//
// An upload holds at most UploadParts parts and the one that is being filled, a
// reader at most ReadParts parts, whatever the archive's size.
package cloud
