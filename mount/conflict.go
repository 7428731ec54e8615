package mount

import "fmt"

// ConflictPolicy says what a commit does if others have stored the workspace since it was
// opened.
type ConflictPolicy string

const (
	// FailOnConflict stores nothing, and Close returns a *store.ConflictError. It is the
	// default; "" means the same.
	FailOnConflict ConflictPolicy = "fail"
	// Merge applies the changes to what the others have stored, and stores the result as
	// its successor, if both have changed different paths. It is a conflict, with the
	// paths, if both have changed a path, or if one has removed the directory of an entry
	// that the other has changed. Both archives must have an index: archives of other
	// programs and of a plain directory are not merged. A workspace that must be new
	// (MustBeNew) is not merged either.
	//
	// The result is what it would be if the work had begun after the others' commit. That
	// is true only of work that does not depend on what it read, so use it where parallel
	// work concerns different files.
	Merge ConflictPolicy = "merge"
)

// Check refuses a value that is none of the above.
func (p ConflictPolicy) Check() error {
	switch p {
	case "", FailOnConflict, Merge:
		return nil
	}
	return fmt.Errorf("on conflict: %q is unknown; write %q or %q", string(p), FailOnConflict, Merge)
}
