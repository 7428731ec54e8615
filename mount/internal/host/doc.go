// Package host is what a mount needs of the machine: mount(2) and fusermount3, the mount
// table, the processes that use a mount, the limits of memory, and the run directory with
// its sessions and the records of their mounts. It knows nothing of trees, stores, or what
// client and server say to each other.
package host
