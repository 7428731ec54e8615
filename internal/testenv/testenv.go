// Package testenv is what tests share: figures that their environment sets, signals that
// are ignored, and waiting for a condition.
package testenv

import (
	"os"
	"strconv"
	"testing"
)

// Number returns the number that an environment variable has, otherwise where it is
// not set.
func Number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
