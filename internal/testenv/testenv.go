// Package testenv is what tests are given by whoever runs them: figures in the
// environment, and signals that are ignored.
package testenv

import (
	"os"
	"strconv"
	"testing"
)

// Number gives the number that an environment variable has, otherwise where it is
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
