// Package eintr repeats system calls that a signal interrupted.
package eintr

import (
	"errors"
	"syscall"
)

// maxInterrupted bounds how often a call is repeated. An occasional signal interrupts a
// call; a file system that always answers EINTR must not hold us forever.
const maxInterrupted = 100

// Retry repeats call while it returns EINTR: the Go runtime sends signals to its own
// threads, and slow file systems and fallocate(2) on a tmpfs (shmem_fallocate in
// mm/shmem.c) answer them with it. It returns EINTR after 100 interruptions.
func Retry(call func() error) (err error) {
	for range maxInterrupted {
		if err = call(); !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
	return err
}
