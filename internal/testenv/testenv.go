// Package testenv has helpers shared by tests: numbers set by the environment, ignored
// signals, and waiting for a condition.
package testenv

import (
	"os"
	"strconv"
	"testing"
)

// Number returns the number in an environment variable, or otherwise if it is not set.
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
