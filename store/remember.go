package store

import "sync/atomic"

// rememberIn is the directory of Remember.
var rememberIn atomic.Pointer[string]

// Remember names a private directory in which drivers keep what they have found out
// about stores, such as that a bucket honours conditions, so that the next process need
// not find it out again. Package mount calls it with its run directory. Without it, or
// where the directory is not there, each process finds out for itself.
func Remember(dir string) { rememberIn.Store(&dir) }

// Remembered is for drivers: the directory of Remember, "" where none was named.
func Remembered() string {
	if dir := rememberIn.Load(); dir != nil {
		return *dir
	}
	return ""
}
