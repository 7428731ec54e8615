// Package overlay makes kernel overlays whose lower layer is a FUSE mount and whose upper
// layer is a directory. It deals in mounts and descriptors and knows nothing of trees or
// archives.
//
// No path leads to either layer: the FUSE mount is attached nowhere, and the directory may
// be in a file system that is not attached either. So the overlay, with its copies in other
// mount namespaces, holds the only reference to the FUSE mount; when the FUSE mount ends,
// everyone who could change the upper layer is gone.
//
// Kernels differ in how layers are named to the overlay; the package tries the ways
// ([forms]) instead of looking up the version. If the kernel lacks something, the error is
// an *[Unsupported] that says what, and nothing stays mounted.
package overlay
