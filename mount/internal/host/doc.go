// Package host is everything that a mount needs from the machine: mount(2) and fusermount3,
// the mount table, the processes that use a mount, the memory limits, and the run directory
// with its sessions and the records of their mounts. It knows nothing of trees, of stores,
// or of the protocol between client and server.
package host
