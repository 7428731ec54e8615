// Package wire is the protocol between the client and the server of a mount: the calls,
// their requests and replies, and the errors that keep their meaning on the way. It does
// nothing by itself; internal/ipc carries it.
package wire
