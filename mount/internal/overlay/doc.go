// Package overlay makes kernel overlays whose lower layer is a FUSE mount and whose upper
// one is a directory: mounts and descriptors, and nothing of trees or archives.
//
// Neither layer can be reached by a path: the FUSE mount is attached nowhere, and the
// directory is in a file system that need not be attached either. So the overlay, with
// its copies in other mount namespaces, has the only reference to the FUSE mount, and
// when that ends, everybody who could change the upper layer is gone.
//
// What kernels differ in is tried and not looked up: how layers are named to the overlay
// ([forms]). Where a piece is missing the
// error is an *[Unsupported], which says which one, and nothing is left mounted.
package overlay
