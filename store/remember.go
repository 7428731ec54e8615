package store

import "sync/atomic"

// rememberIn is the directory set by Remember.
var rememberIn atomic.Pointer[string]

// Remember names a private directory in which drivers record what they have tested about
// stores, such as that a bucket honours conditions, so that the next process need not repeat
// the test. Package mount calls it with its run directory. Without it, or if the directory
// does not exist, each process tests for itself.
func Remember(dir string) { rememberIn.Store(&dir) }

// Remembered is for drivers: the directory set by Remember, or "".
func Remembered() string {
	if dir := rememberIn.Load(); dir != nil {
		return *dir
	}
	return ""
}
