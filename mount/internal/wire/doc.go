// Package wire is what the client and the server of a mount say to each other: the calls,
// their requests and replies, and the errors that keep their meaning on the way. It does
// nothing by itself; internal/ipc carries it.
package wire
