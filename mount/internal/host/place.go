package host

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// RefuseOwnMount keeps the server's own paths out of our mounts: the server would wait for
// itself there.
func RefuseOwnMount(path, what string) error {
	if !MayBeOurs(path) {
		return nil
	}
	table, err := MountTable("self")
	if err != nil {
		return &Error{Path: path, What: "read the mount table: " + err.Error(), Hint: "is /proc mounted?"}
	}
	if e, ok := MountOf(table, path); ok && e.IsOurs() {
		return &Error{Path: path, What: what + " is inside the mounted workspace " + e.Path, Hint: "choose a path outside of it"}
	}
	return nil
}

// RefuseMountpoint refuses a path where something is mounted.
func RefuseMountpoint(path string) error {
	if IsNoMountpoint(path) {
		return nil
	}
	table, err := MountTable("self")
	if err != nil {
		return &Error{Path: path, What: "read the mount table: " + err.Error(), Hint: "is /proc mounted?"}
	}
	if e, ok := TopMountAt(table, path); ok {
		return &Error{Path: path, What: "the mountpoint is a mount already (" + e.fsType + ")", Hint: "unmount it, or choose another directory"}
	}
	return nil
}

// CanonicalDir returns the canonical path of an existing mountpoint.
func CanonicalDir(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &Error{Path: dir, What: err.Error()}
	}
	real, err := filepath.EvalSymlinks(abs)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "", &Error{Path: abs, What: "the mountpoint does not exist", Hint: "make it: mkdir -p"}
	case errors.Is(err, unix.ENOTCONN):
		return "", &Error{Path: abs, What: "a dead mount lies there", Hint: "clear it away with fusermount3 -uz or umount -l"}
	case err != nil:
		return "", &Error{Path: abs, What: err.Error()}
	}
	return real, nil
}

// CheckEmptyDir refuses anything but an empty directory.
func CheckEmptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return &Error{Path: dir, What: "the mountpoint is not a directory"}
	case err != nil:
		return &Error{Path: dir, What: err.Error()}
	case len(entries) > 0:
		return NotEmpty(dir)
	}
	return nil
}

// NotEmpty returns the error for a mountpoint that holds files.
func NotEmpty(dir string) error {
	return &Error{Path: dir, What: "the mountpoint is not empty", Hint: "a mount would hide what is in it; choose an empty directory"}
}

// CheckDirOnDisk returns the canonical path of a directory that the server is to use, ""
// for none. It must not be in a mount of ours, where the server would wait for itself.
func CheckDirOnDisk(dir, what string) (string, error) {
	if dir == "" {
		return "", nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &Error{Path: dir, What: err.Error()}
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", &Error{Path: abs, What: what + ": " + err.Error(), Hint: "make it, or choose another one"}
	}
	return real, RefuseOwnMount(real, what)
}
